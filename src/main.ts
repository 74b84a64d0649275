// Composes the parts: the only place that knows them all. `runServer` brings a server up in the order in which the
// parts need each other, and takes it down in the reverse order, with nothing acknowledged lost.

import type { IncomingMessage } from 'node:http';
import type { AddressInfo, Server as NetServer } from 'node:net';
import { join } from 'node:path';
import { getRequestListener } from '@hono/node-server';
import { bootstrap } from './access/bootstrap.ts';
import { type ControlPlaneDeps, createControlPlane } from './access/control-plane.ts';
import { openAudit } from './audit/open.ts';
import { type OpenBatches, openBatches } from './batches/open.ts';
import { sealedColumns } from './batches/sealed.ts';
import type { Config } from './config/model.ts';
import { controlsPart } from './controls/control-part.ts';
import { noticeEnvironments } from './controls/environments.ts';
import { openPseudonyms, type Pseudonyms } from './controls/pseudonyms.ts';
import { authenticateAdmin } from './gateway/administration.ts';
import { callerAddressOf } from './gateway/authorize.ts';
import { Metrics } from './gateway/metrics.ts';
import { Road } from './gateway/road.ts';
import { type Doors, type Listener, listener, type Side } from './gateway/server.ts';
import { secured } from './gateway/tls.ts';
import { identityPart } from './identity/control-part.ts';
import { openIdentity } from './identity/open.ts';
import { type Incoming, Proofs } from './identity/proof/prove.ts';
import { addressRanges } from './keys/addresses.ts';
import { KeyRegistry } from './keys/registry.ts';
import { limitsPart } from './limits/control-part.ts';
import { type OpenLimits, openLimits } from './limits/open.ts';
import { openNotify } from './notify/open.ts';
import { sealedInNotify } from './notify/sealed.ts';
import { systemClock } from './platform/clock.ts';
import { ApiError, SetupError } from './platform/errors.ts';
import { jsonLog, type Log } from './platform/log.ts';
import { outgoing } from './platform/outgoing.ts';
import { PromptLog } from './prompts/log.ts';
import { secretsPart } from './secrets/control-part.ts';
import { openSecrets } from './secrets/open.ts';
import { passOnAlerts } from './spend/administration/alerting.ts';
import { spendPart } from './spend/administration/control-part.ts';
import { TokenCounter } from './spend/count.ts';
import { Journal } from './spend/journal.ts';
import { measureMoney } from './spend/measure.ts';
import { listNames, type OpenSpending, openSpending } from './spend/open.ts';
import { UNDECLARED } from './spend/refusal.ts';
import { openRollup } from './spend/rollup/open.ts';
import { storagePart } from './storage/api.ts';
import { OutsideContents } from './storage/outside.ts';
import { openStore } from './store/open.ts';
import type { Store } from './store/store.ts';
import { keepCatalogue } from './upstreams/catalogue.ts';
import { keepCredentials } from './upstreams/credentials.ts';
import { OwnedObjects } from './upstreams/objects.ts';
import { Routes } from './upstreams/routes.ts';
import { sandboxUpstream } from './upstreams/sandbox-upstream.ts';

export interface Io {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

/** What was made at the first start. Plaintexts are to be shown once; null where the administrator gave the key. */
export interface FirstStart {
  readonly organizationId: string;
  readonly projectId: string;
  readonly adminKey: string | null;
  readonly projectKey: string | null;
}

export interface RunningServer {
  /** `http://127.0.0.1:4141` */
  readonly url: string;
  readonly adminUrl: string;
  readonly firstStart: FirstStart | null;
  /** What the administrator should know at the start, a sentence each. */
  readonly notices: readonly string[];
  /** Finishes what is under way (bounded by `drainMs`), settles and records it, and lets go of everything. */
  close(): Promise<void>;
}

/** Brings a server up. Throws SetupError, with a sentence that says what to do, when the configuration cannot be used. */
export async function runServer(config: Config, io: Io): Promise<RunningServer> {
  const clock = systemClock;
  const log = jsonLog(config.logLevel, clock, io.err);
  const closing = new Closing();
  try {
    const reachable = outgoing(config.outgoing);
    const store = await openStore({ ...config, clock, onError: (error) => log.error('store', error) });
    closing.add(() => store.close());
    const secrets = await openSecrets({
      config: config.secrets,
      clouds: config.clouds,
      dataDir: config.dataDir,
      node: config.node,
      outgoing: reachable,
      store,
      clock,
      log,
    });
    closing.add(() => secrets.close());
    secrets.columns.push(...sealedInNotify);
    const firstStart = await bootstrap({
      store,
      clock,
      adminKey: config.bootstrapAdminKey,
      warn: (text) => log.warn(text),
    });
    const registry = new KeyRegistry({
      clock,
      externalKey: secrets.external.stateOf,
      onError: (error) => log.error('keys', error),
    });
    await registry.load(store);
    closing.add(registry.follow(store));
    const proxies = config.trustedProxies.length === 0 ? null : addressRanges(config.trustedProxies);
    const proofs = new Proofs({
      clock,
      proxies,
      publicUrl: config.publicUrl,
      nonce: config.identity.dpopNonce,
    });
    const identity = await openIdentity({
      config: config.identity,
      store,
      registry,
      clock,
      outgoing: reachable,
      proofs,
      onError: (error) => log.error('identity', error),
    });
    closing.add(() => identity.close());
    const limits = await openLimits({
      config: config.limits,
      redisUrl: config.redisUrl,
      node: config.node,
      store,
      clock,
      log,
    });
    closing.add(() => limits.close());
    const rollup = await openRollup(config, store, clock, (error) => log.error('rollup', error));
    closing.add(() => rollup.close());
    const money = await openSpending({
      store,
      clock,
      node: config.node,
      rules: config.spend,
      prices: config.spend.prices,
      providers: config.providers,
      onError: (error) => log.error('spending', error),
    });
    closing.add(() => money.close());
    const moneyMeasure = measureMoney({ ...money, onError: (error) => log.error('spending', error) });
    closing.add(() => moneyMeasure.close());
    const audit = openAudit({
      config: config.audit,
      store,
      clock,
      node: config.node,
      outgoing: reachable,
      onError: (error) => log.error('audit', error),
    });
    closing.add(() => audit.close());
    const notify = openNotify({
      store,
      clock,
      node: config.node,
      outgoing: reachable,
      seals: secrets.seals,
      smtp: config.smtp,
      chores: [async () => void (await passOnAlerts(store, () => clock.now())), ...audit.chores],
      onError: (error) => log.error('notify', error),
    });
    closing.add(() => notify.close());
    for (const notice of await noticeEnvironments(store, config)) log.warn(notice);
    const pseudonyms = await openPseudonyms(store);
    secrets.columns.push(...sealedColumns);
    const outside = new OutsideContents(
      store,
      secrets.clouds,
      () => clock.now(),
      (error) => log.error('external storage', error),
    );
    closing.add(await outside.follow());
    const batches = openBatches({
      config,
      store,
      seals: secrets.seals,
      outside,
      registry,
      limits: limits.limits,
      clock,
      onError: (error) => log.error('batches', error),
    });
    const { road, routes, journal, metrics } = makeRoad(
      config,
      batches.handlers,
      store,
      registry,
      proofs,
      pseudonyms,
      limits,
      money,
      log,
      closing,
    );

    // Key services that do not answer must not keep the others' projects waiting: theirs are dark until they do.
    await secrets.external.held.settled(5_000);
    const credentials = await keepCredentials({
      config,
      store,
      secrets,
      routes,
      now: () => clock.now(),
      projectState: (id) => registry.projectState(id),
      onError: (error) => log.error('credentials', error),
    });
    secrets.onProjectKey((projectId, held) => credentials.turned(projectId, held));

    let draining = false;
    const administration: ControlPlaneDeps = {
      store,
      registry,
      clock,
      proofs,
      externalKeys: secrets.external,
      mail: config.smtp.url === null ? null : secrets.seals,
      onError: (error, requestId) => log.error('administration', error, { request_id: requestId }),
    };
    const callable = () => routes.listing(false).map(({ id }) => id);
    const controlPlane = createControlPlane(administration, [
      limitsPart({ ...administration, ...limits, callable, uploadBytes: config.bounds.uploadBytes }),
      notify.part,
      storagePart({ ...administration, clouds: secrets.clouds }),
      secretsPart({
        ...administration,
        secrets,
        external: secrets.external,
        outgoing: reachable,
        lifetimeMs: config.secrets.keyLifetimeMs,
        azureVault: config.clouds.azure.endpoints.vault ?? null,
        providers: config.providers.map(({ name }) => name),
      }),
      identityPart({ ...administration, outgoing: reachable, signIn: identity.signIn }),
      controlsPart({ ...administration, pseudonyms }),
      spendPart({
        ...administration,
        unsaid: config.spend.account === 'postpaid' ? 'postpaid' : 'undeclared',
        configured: config.spend.prices,
        listName: listNames(config.providers),
        providers: config.providers.map(({ name }) => name),
        served: () => routes.served(),
      }),
    ]);
    const doors: Doors = {
      road: (peer) => road.take(peer),
      administration: getRequestListener((request, { incoming }) =>
        controlPlane.fetch(request, {
          remoteAddress: callerAddressOf(
            incoming.socket.remoteAddress,
            request.headers.get('x-forwarded-for'),
            proxies,
          ),
          incoming: incomingOf(incoming),
        }),
      ),
      token: getRequestListener((request, { incoming }) =>
        identity.tokenEndpoint.answer(request, {
          remoteAddress: callerAddressOf(
            incoming.socket.remoteAddress,
            request.headers.get('x-forwarded-for'),
            proxies,
          ),
          incoming: incomingOf(incoming),
        }),
      ),
      readiness: async () =>
        draining ? 'the server is stopping' : (limits.unready() ?? (await unready(store))),
      metrics: (request) =>
        authenticateAdmin(
          registry,
          request.headers.authorization,
          callerAddressOf(
            request.socket.remoteAddress,
            request.headers['x-forwarded-for']?.toString() ?? null,
            proxies,
          ),
          proofs,
          incomingOf(request),
        ) ??
        metrics.text({
          underway: () => road.admission.underway,
          pendingEvents: () => journal.pending,
          recordedEvents: () => journal.recorded,
          journalRefusals: () => journal.refusals,
          keys: () => registry.size,
          providers: () => [...routes.providers.values(), routes.sandbox.provider],
          limits: (out) => limits.measure(out),
          others: [moneyMeasure.measure, notify.measure, audit.measure],
        }),
    };
    const opened = (side: Side, at: Place) =>
      listen(doors, config, side, at, (error) => log.error('tls', error));
    const data = await opened(config.admin === null ? 'both' : 'data', config);
    const admin = config.admin === null ? data : await opened('administration', config.admin);
    closing.add(async () => {
      draining = true;
      for (const one of new Set([data, admin])) one.stop();
      await road.drain(config.bounds.drainMs);
      for (const one of new Set([data, admin])) one.closeAll();
    });
    // Last, so that it ends first: lines of batches are finished while the road still goes on.
    const stopBatches = await batches.run({
      perform: (order) => road.perform(order),
      serves: (owner, model) => routes.find(model, owner.type === 'test') !== undefined,
    });
    closing.add(() => stopBatches(config.bounds.drainMs));
    const notices = money.spending.undeclaredAny ? [UNDECLARED] : [];
    for (const notice of notices) log.warn(notice);
    notify.courier.start();
    audit.start();
    log.info('listening', { url: data.url, admin_url: admin.url, keys: registry.size });
    return { url: data.url, adminUrl: admin.url, firstStart, notices, close: () => closing.run() };
  } catch (error) {
    await closing.run();
    throw error;
  }
}

function makeRoad(
  config: Config,
  kept: OpenBatches['handlers'],
  store: Store,
  registry: KeyRegistry,
  proofs: Proofs,
  pseudonyms: Pseudonyms,
  { limits }: OpenLimits,
  { spending }: OpenSpending,
  log: Log,
  closing: Closing,
) {
  const clock = systemClock;
  const sandbox = sandboxUpstream(config.bounds, clock);
  closing.add(() => sandbox.close());
  const routes = new Routes(config, sandbox, clock);
  closing.add(async () => routes.close());
  const stopCatalogue = keepCatalogue(config, routes, (message) => log.warn(message));
  closing.add(async () => stopCatalogue());
  const counter = new TokenCounter({ clock });
  closing.add(() => counter.close());
  const objects = new OwnedObjects(store, (error) => log.error('objects', error));
  closing.add(() => objects.flush());
  const journal = new Journal(store, config.node, config.bounds.unrecordedEvents, (error) =>
    log.error('journal', error),
  );
  const metrics = new Metrics();
  const prompts = openPrompts(config, (message) => log.warn(message));
  if (prompts !== null) closing.add(() => prompts.close());
  const road = new Road({
    clock,
    bounds: config.bounds,
    keys: registry,
    routes,
    objects,
    limits,
    journal,
    spending,
    counter,
    metrics,
    pseudonyms,
    prompts,
    kept,
    proxies: config.trustedProxies.length === 0 ? null : addressRanges(config.trustedProxies),
    proofs,
    complain: (error) => log.error('road', error),
  });
  return { road, routes, journal, metrics };
}

/** Null where prompts are not logged. */
function openPrompts(config: Config, complain: (message: string) => void): PromptLog | null {
  const { log, redact, bytes, ms } = config.prompts;
  if (log === 'off') return null;
  const options = {
    folder: join(config.dataDir, 'prompts'),
    node: config.node,
    bounds: { bytes, ms },
    redaction: { personal: redact === 'personal' },
  };
  return new PromptLog(options, systemClock, complain);
}

/** What must be undone, in the reverse order of its doing, once. */
class Closing {
  readonly #steps: (() => Promise<unknown>)[] = [];
  #running: Promise<void> | null = null;

  add(step: () => Promise<unknown>): void {
    this.#steps.push(step);
  }

  run(): Promise<void> {
    this.#running ??= this.#undo();
    return this.#running;
  }

  async #undo(): Promise<void> {
    let first: unknown = null;
    for (const step of this.#steps.toReversed()) {
      try {
        await step();
      } catch (error) {
        first ??= error;
      }
    }
    if (first !== null) throw first;
  }
}

async function unready(store: Store): Promise<string | null> {
  try {
    await store.ping();
    return null;
  } catch (error) {
    return error instanceof ApiError ? error.message : 'the store does not answer';
  }
}

/** A request of node:http's as those who check proofs want it. */
function incomingOf(
  request: Pick<IncomingMessage, 'rawHeaders' | 'socket'> & {
    method?: string | undefined;
    url?: string | undefined;
  },
): Incoming {
  return {
    method: request.method ?? '',
    target: request.url ?? '',
    headers: request.rawHeaders,
    socket: request.socket,
  };
}

interface Place {
  readonly host: string;
  readonly port: number;
}

interface Listening extends Pick<Listener, 'stop' | 'closeAll'> {
  readonly url: string;
}

async function listen(
  doors: Doors,
  config: Config,
  side: Side,
  at: Place,
  onError: (error: unknown) => void,
): Promise<Listening> {
  const made = listener(doors, config.bounds, side, systemClock);
  const tls = config.tls === null ? null : secured(config.tls, made.server, onError);
  const outer = tls?.server ?? made.server;
  await new Promise<void>((resolve, reject) => {
    outer.once('error', (error: NodeJS.ErrnoException) => reject(cannotListen(error, at)));
    outer.listen({ host: at.host, port: at.port, backlog: 1024 }, resolve);
  });
  // It serves what the layer above it takes: without a listener of its own it would not watch its connections.
  if (tls !== null) made.server.emit('listening');
  return {
    url: urlOf(outer, tls === null ? 'http' : 'https'),
    stop: () => {
      tls?.stop();
      made.stop();
    },
    closeAll: () => made.closeAll(),
  };
}

function cannotListen(
  error: NodeJS.ErrnoException,
  at: { readonly host: string; readonly port: number },
): SetupError {
  const place = `${at.host}:${at.port}`;
  switch (error.code) {
    case 'EADDRINUSE':
      return new SetupError(
        `${place} is in use: another server listens there. Stop it, or choose another with --port.`,
      );
    case 'EACCES':
      return new SetupError(
        `This user may not listen on ${place}: choose a port of 1024 or more with --port.`,
      );
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return new SetupError(`${at.host} is not an address of this machine: choose one with --host.`);
    default:
      return new SetupError(`Cannot listen on ${place} (${error.code ?? 'unknown reason'}).`);
  }
}

function urlOf(server: NetServer, scheme: 'http' | 'https'): string {
  const address = server.address();
  if (address === null || typeof address === 'string')
    throw new Error('the server does not listen on a port');
  return `${scheme}://${hostInUrl(address)}:${address.port}`;
}

function hostInUrl({ address, family }: AddressInfo): string {
  if (address === '0.0.0.0' || address === '::') return '127.0.0.1';
  return family === 'IPv6' ? `[${address}]` : address;
}
