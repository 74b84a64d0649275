// The key services, each asked to wrap and to unwrap a 32-byte key. What is wrapped is bound to its project and to its
// own id wherever the service has a place for that (AWS: encryption context, the others: associated data).

import { azureError } from '../../clouds/azure.ts';
import { CloudError, jsonOf, neededAt } from '../../clouds/error.ts';
import { ociError } from '../../clouds/oci.ts';
import type { Clouds } from '../../clouds/open.ts';
import { KEY_BYTES } from '../root.ts';
import type { ExternalKey } from './model.ts';

/** What a wrapped key is bound to. */
export interface Binding {
  readonly organizationId: string;
  readonly projectId: string;
  readonly keyId: string;
}

/** @throws CloudError */
export interface KeyService {
  wrap(key: Buffer, binding: Binding): Promise<Buffer>;
  unwrap(wrapped: Buffer, binding: Binding): Promise<Buffer>;
}

/**
 * The service of an external key. Whoever asks learns what is so now: roles and access tokens that were taken before
 * are taken anew, so that a withdrawn trust is noticed as soon as a disabled key.
 * @param timeoutMs the longest a request may take
 */
export function keyService(key: ExternalKey, clouds: Clouds, timeoutMs: number): KeyService {
  const service = serviceOf(key, clouds, timeoutMs);
  return {
    wrap: (bytes, binding) => service.wrap(bytes, binding),
    unwrap: async (wrapped, binding) => {
      const bytes = await service.unwrap(wrapped, binding);
      if (bytes.length === KEY_BYTES) return bytes;
      throw new CloudError('unavailable', 'The key service gave back something else than was wrapped.');
    },
  };
}

function serviceOf(key: ExternalKey, clouds: Clouds, timeoutMs: number): KeyService {
  switch (key.location.type) {
    case 'aws':
      return awsKms(key.location.config, clouds);
    case 'gcp':
      return googleKms(key, key.location.config, clouds, timeoutMs);
    case 'azure':
      return azureVault(key, key.location.config, clouds, timeoutMs);
    case 'oci':
      return ociVault(key.location.config, clouds, timeoutMs);
    case 'vault':
      return vaultTransit(key.location.config, clouds);
  }
}

type Config<T> = Extract<ExternalKey['location'], { type: T }>['config'];

function contextOf({ organizationId, projectId, keyId }: Binding): Record<string, string> {
  return { 'keygate:organization': organizationId, 'keygate:project': projectId, 'keygate:key': keyId };
}

function associatedOf(binding: Binding): string {
  return JSON.stringify(contextOf(binding));
}

function awsKms(config: Config<'aws'>, { aws }: Clouds): KeyService {
  const region = config.kms_arn.split(':')[3] ?? '';
  const call = async (operation: 'Encrypt' | 'Decrypt', body: object) => {
    aws.forget(config.role_arn, config.external_id);
    const keys = await aws.assume(config.role_arn, config.external_id);
    return await aws.json(keys, 'kms', region, `TrentService.${operation}`, {
      KeyId: config.kms_arn,
      ...body,
    });
  };
  return {
    async wrap(key, binding) {
      const reply = await call('Encrypt', {
        Plaintext: key.toString('base64'),
        EncryptionContext: contextOf(binding),
      });
      return Buffer.from(neededAt(reply, 'AWS kms', 'CiphertextBlob'), 'base64');
    },
    async unwrap(wrapped, binding) {
      const reply = await call('Decrypt', {
        CiphertextBlob: wrapped.toString('base64'),
        EncryptionContext: contextOf(binding),
      });
      return Buffer.from(neededAt(reply, 'AWS kms', 'Plaintext'), 'base64');
    },
  };
}

function googleKms(key: ExternalKey, config: Config<'gcp'>, { gcp }: Clouds, timeoutMs: number): KeyService {
  const name = `projects/${config.kms_project_id}/locations/${config.kms_key_location}/keyRings/${config.kms_key_ring_name}/cryptoKeys/${config.kms_key_name}`;
  const federation = {
    projectNumber: config.workload_identity_project_number,
    pool: config.workload_identity_pool_id,
    provider: config.workload_identity_provider_id,
    audience: config.audience,
    subject: key.organizationId,
  };
  const call = async (operation: 'encrypt' | 'decrypt', body: object) => {
    gcp.forget(federation);
    return await gcp.json(await gcp.federated(federation), {
      method: 'POST',
      url: `${gcp.endpoint('kms')}/v1/${name}:${operation}`,
      body,
      timeoutMs,
    });
  };
  return {
    async wrap(bytes, binding) {
      const reply = await call('encrypt', {
        plaintext: bytes.toString('base64'),
        additionalAuthenticatedData: Buffer.from(associatedOf(binding)).toString('base64'),
      });
      return Buffer.from(neededAt(reply, 'Google Cloud', 'ciphertext'), 'base64');
    },
    async unwrap(wrapped, binding) {
      const reply = await call('decrypt', {
        ciphertext: wrapped.toString('base64'),
        additionalAuthenticatedData: Buffer.from(associatedOf(binding)).toString('base64'),
      });
      return Buffer.from(neededAt(reply, 'Google Cloud', 'plaintext'), 'base64');
    },
  };
}

const AZURE_VERSION = '7.4';

/** RSA-OAEP-256 has no associated data: there the binding is that of the seal around the wrapped key alone. */
function azureVault(
  key: ExternalKey,
  config: Config<'azure'>,
  { azure }: Clouds,
  timeoutMs: number,
): KeyService {
  const vault = (azure.config.endpoints.vault ?? config.vault_uri).replace(/\/+$/, '');
  const call = async (path: string, operation: 'wrapkey' | 'unwrapkey', value: string) => {
    const token = await azure.token(config.tenant_id, 'https://vault.azure.net/.default', key.organizationId);
    const reply = await azure.send(token, {
      url: `${vault}/${path}/${operation}?api-version=${AZURE_VERSION}`,
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ alg: 'RSA-OAEP-256', value }),
      timeoutMs,
    });
    if (reply.status !== 200) throw azureError(reply);
    return jsonOf(reply, 'Azure');
  };
  return {
    async wrap(bytes) {
      const reply = await call(`keys/${config.key_name}`, 'wrapkey', bytes.toString('base64url'));
      // The version that wrapped has to unwrap: it stands at the end of the key's id.
      const version = /\/keys\/[^/]+\/([0-9a-f]{32})$/i.exec(neededAt(reply, 'Azure', 'kid'))?.[1];
      if (version === undefined)
        throw new CloudError('unavailable', 'Azure did not say which version wrapped.');
      return Buffer.from(JSON.stringify({ version, value: neededAt(reply, 'Azure', 'value') }));
    },
    async unwrap(wrapped) {
      const kept: unknown = JSON.parse(wrapped.toString('utf8'));
      const path = `keys/${config.key_name}/${neededAt(kept, 'The store', 'version')}`;
      const reply = await call(path, 'unwrapkey', neededAt(kept, 'The store', 'value'));
      return Buffer.from(neededAt(reply, 'Azure', 'value'), 'base64url');
    },
  };
}

function ociVault(config: Config<'oci'>, { oci }: Clouds, timeoutMs: number): KeyService {
  // ocid1.vault.oc1.<region>.<vault>.<unique>: the vault's own part names its endpoint.
  const vault = config.vault_ocid.split('.')[4] ?? '';
  const base = oci.endpoint(
    'kms',
    config.region,
    `https://${vault}-crypto.kms.${config.region}.oraclecloud.com`,
  );
  const call = async (operation: 'encrypt' | 'decrypt', body: object) => {
    const reply = await oci.send({
      method: 'POST',
      url: `${base}/20180608/${operation}`,
      body: JSON.stringify({ keyId: config.key_ocid, ...body }),
      timeoutMs,
    });
    if (reply.status !== 200) throw ociError(reply);
    return jsonOf(reply, 'Oracle Cloud');
  };
  return {
    async wrap(bytes, binding) {
      const reply = await call('encrypt', {
        plaintext: bytes.toString('base64'),
        associatedData: contextOf(binding),
      });
      return Buffer.from(neededAt(reply, 'Oracle Cloud', 'ciphertext'));
    },
    async unwrap(wrapped, binding) {
      const reply = await call('decrypt', {
        ciphertext: wrapped.toString('utf8'),
        associatedData: contextOf(binding),
      });
      return Buffer.from(neededAt(reply, 'Oracle Cloud', 'plaintext'), 'base64');
    },
  };
}

function vaultTransit(config: Config<'vault'>, { vault }: Clouds): KeyService {
  const path = (operation: string) => `${config.mount}/${operation}/${config.key_name}`;
  const associated = (binding: Binding) => Buffer.from(associatedOf(binding)).toString('base64');
  return {
    async wrap(bytes, binding) {
      const reply = await vault.call(path('encrypt'), {
        plaintext: bytes.toString('base64'),
        associated_data: associated(binding),
      });
      return Buffer.from(neededAt(reply, 'Vault', 'data', 'ciphertext'));
    },
    async unwrap(wrapped, binding) {
      const reply = await vault.call(path('decrypt'), {
        ciphertext: wrapped.toString('utf8'),
        associated_data: associated(binding),
      });
      return Buffer.from(neededAt(reply, 'Vault', 'data', 'plaintext'), 'base64');
    },
  };
}
