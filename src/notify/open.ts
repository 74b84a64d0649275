// Brings telling others up: the courier with its two ways, webhooks and e-mail, and what the control plane shows of it.

import type { ControlPart } from '../access/control-plane.ts';
import type { Clock } from '../platform/clock.ts';
import type { Exposition } from '../platform/exposition.ts';
import type { Outgoing } from '../platform/outgoing.ts';
import type { Store } from '../store/store.ts';
import { Courier, type CourierOptions } from './courier.ts';
import { deliveriesApi } from './deliveries-api.ts';
import { EmailSender, type SmtpSettings } from './email.ts';
import type { Sealing } from './endpoints.ts';
import { organizationEndpointsApi, projectEndpointsApi } from './endpoints-api.ts';
import { sendWebhook, type WebhookSending } from './webhook.ts';

export interface OpenNotifyOptions extends Pick<CourierOptions, 'chores' | 'random'> {
  readonly store: Store;
  readonly clock: Clock;
  readonly node: string;
  readonly outgoing: Outgoing;
  readonly seals: Sealing;
  readonly smtp: SmtpSettings;
  readonly onError: (error: unknown) => void;
}

export interface OpenNotify {
  readonly courier: Courier;
  readonly part: ControlPart;
  /** Writes what was delivered, and what waits. */
  measure(out: Exposition): void;
  close(): Promise<void>;
}

export function openNotify(options: OpenNotifyOptions): OpenNotify {
  const { store, clock, outgoing, seals } = options;
  const sending: WebhookSending = { outgoing, seals, now: () => clock.now() };
  const email = new EmailSender(options.smtp, seals);
  const courier = new Courier({
    ...options,
    send: (delivery, signal) =>
      delivery.channel === 'webhook'
        ? sendWebhook(store.db, sending, delivery, signal)
        : email.send(delivery),
  });
  return {
    courier,
    part: {
      routes(auth) {
        const app = projectEndpointsApi({ store, clock, sending }, auth);
        app.route('/', organizationEndpointsApi({ store, clock, sending }, auth));
        app.route('/', deliveriesApi({ store, clock, wake: () => courier.wake() }, auth));
        return app;
      },
    },
    measure: (out) => measure(out, courier, clock),
    close: async () => {
      await courier.stop();
      email.close();
    },
  };
}

function measure(out: Exposition, { counts, waiting }: Courier, clock: Clock): void {
  const channels = ['webhook', 'email'] as const;
  out.counter(
    'keygate_deliveries_total',
    'Attempts of this process to deliver a message, by channel and how they ended.',
    channels.flatMap((channel) => [
      [{ channel, result: 'sent' }, counts.sent[channel]] as const,
      [{ channel, result: 'failed' }, counts.failed[channel]] as const,
    ]),
  );
  out.counter('keygate_deliveries_dead_total', 'Messages that this process gave up.', [[{}, counts.dead]]);
  out.gauge('keygate_outbox_depth', 'Messages that wait for delivery, of all nodes.', waiting.depth);
  out.gauge(
    'keygate_outbox_oldest_seconds',
    'Age of the oldest message that waits for delivery.',
    waiting.oldestAt === null ? 0 : Math.max(0, (clock.now() - waiting.oldestAt) / 1000),
  );
}
