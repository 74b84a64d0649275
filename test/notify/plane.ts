// A control plane that tells others: with receivers on this machine, sealed secrets, and a courier that moves when told.

import OpenAI from 'openai';
import type { ControlPart } from '../../src/access/control-plane.ts';
import { Secret } from '../../src/config/model.ts';
import { type OpenNotify, openNotify } from '../../src/notify/open.ts';
import { outgoing } from '../../src/platform/outgoing.ts';
import { passOnAlerts } from '../../src/spend/administration/alerting.ts';
import { spendPart } from '../../src/spend/administration/control-part.ts';
import { openPlane, type Plane } from '../access/plane.ts';
import { testSeals } from '../secrets/seals.ts';
import type { StoreKind } from '../store/stores.ts';
import { CA, type MailServer, type Receiver, startMailServer, startReceiver } from './receiver.ts';

export interface NotifyPlane extends Plane {
  readonly notify: OpenNotify;
  readonly hook: Receiver;
  readonly mail: MailServer;
  /** The official client with the project's key. */
  readonly project: OpenAI;
  readonly errors: unknown[];
}

export async function openNotifyPlane(
  kind: StoreKind,
  more: (
    deps: Parameters<NonNullable<Parameters<typeof openPlane>[1]>>[0],
  ) => readonly ControlPart[] = () => [],
): Promise<NotifyPlane> {
  const hook = await startReceiver();
  const mail = await startMailServer();
  const errors: unknown[] = [];
  let notify: OpenNotify | undefined;
  const plane = await openPlane(kind, (deps) => {
    const { store, clock } = deps;
    notify = openNotify({
      store,
      clock,
      node: 'n1',
      outgoing: outgoing({ allowPrivate: ['127.0.0.1'] }),
      seals: testSeals().seals,
      smtp: { url: new Secret(mail.url), from: 'keygate <alerts@example.com>', startTls: 'required', ca: CA },
      chores: [async () => void (await passOnAlerts(store, () => clock.now()))],
      random: () => 0,
      onError: (error) => errors.push(error),
    });
    const prices = { configured: null, listName: () => '', providers: [], served: () => [] };
    return [spendPart({ ...deps, ...prices, unsaid: 'postpaid' }), notify.part, ...more(deps)];
  });
  if (notify === undefined) throw new Error('the parts were not asked for');
  const opened = notify;
  return {
    ...plane,
    notify: opened,
    hook,
    mail,
    errors,
    project: new OpenAI({
      apiKey: plane.projectKey,
      baseURL: 'http://keygate.test/v1',
      maxRetries: 0,
      fetch: (input, init) => plane.app.fetch(new Request(input, init), { remoteAddress: '192.0.2.1' }),
    }),
    close: async () => {
      await opened.close();
      await hook.close();
      await mail.close();
      await plane.close();
    },
  };
}
