// Vault and OpenBao by their HTTP interface: secrets of the key/value engine, and keys of the transit engine.

import type { VaultConfig } from '../config/model.ts';
import type { Outgoing } from '../platform/outgoing.ts';
import { CloudError, jsonOf, reached, reasonOf } from './error.ts';

export class Vault {
  readonly #config: VaultConfig | null;
  readonly #outgoing: Outgoing;

  constructor(config: VaultConfig | null, outgoing: Outgoing) {
    this.#config = config;
    this.#outgoing = outgoing;
  }

  /** @param path below `/v1/` */
  async call(path: string, body?: object): Promise<Readonly<Record<string, unknown>>> {
    const config = this.#config;
    if (config === null) {
      throw new CloudError(
        'unavailable',
        'keygate has no Vault: set clouds.vault, or VAULT_ADDR and VAULT_TOKEN.',
      );
    }
    const reply = await reached(
      this.#outgoing.send({
        url: `${config.address}/v1/${path}`,
        method: body === undefined ? 'GET' : 'POST',
        headers: {
          'x-vault-token': config.token.reveal(),
          'x-vault-request': 'true',
          ...(config.namespace !== null && { 'x-vault-namespace': config.namespace }),
          ...(body !== undefined && { 'content-type': 'application/json' }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      }),
    );
    if (reply.status === 200) return jsonOf(reply, 'Vault');
    // 503 is a sealed Vault, 472 and 473 a standby: it may be back.
    const reason = reply.status === 472 || reply.status === 473 ? 'unavailable' : reasonOf(reply.status);
    throw new CloudError(reason, `Vault answered ${reply.status}.`);
  }
}
