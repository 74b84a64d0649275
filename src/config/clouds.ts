// The `clouds` of keygate.yaml: as whom keygate asks clouds for keys, secrets and storage, and at which addresses. What
// the file does not say comes from the variables that the clouds' own tools read.

import { z } from 'zod';
import type { AwsConfig, AzureConfig, CloudsConfig, GcpConfig, OciConfig, VaultConfig } from './model.ts';
import type { Problems } from './problems.ts';
import { type Surroundings, secretFromReference, secretTextFromReference } from './secrets.ts';

const text = z.string('must be a text').min(1, 'must not be empty').max(2048, 'is too long');
const address = text.refine((value) => {
  const url = URL.canParse(value) ? new URL(value) : null;
  return url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.search === '';
}, 'must be an address that begins with https://');
const reference = z.unknown();

const endpoints = <const N extends string>(...names: readonly N[]) =>
  z.partialRecord(z.enum(names), address).optional();

const Shape = z.strictObject({
  aws: z
    .strictObject({
      access_key_id: reference,
      secret_access_key: reference,
      session_token: reference,
      region: text.optional(),
      endpoints: endpoints('kms', 'sts', 's3', 'secretsmanager'),
    })
    .partial()
    .nullish(),
  gcp: z
    .strictObject({
      service_account: reference,
      endpoints: endpoints('kms', 'sts', 'storage', 'secretmanager', 'token'),
    })
    .partial()
    .nullish(),
  azure: z
    .strictObject({
      client_id: text.optional(),
      client_secret: reference,
      tenant_id: text.optional(),
      endpoints: endpoints('login', 'vault', 'blob'),
    })
    .partial()
    .nullish(),
  oci: z
    .strictObject({
      tenancy: text,
      user: text,
      fingerprint: text,
      private_key: z.unknown(),
      endpoints: endpoints('kms', 'storage'),
    })
    .nullish(),
  vault: z
    .strictObject({ address: address.optional(), token: reference, namespace: text.optional() })
    .partial()
    .nullish(),
  identity: z.strictObject({ issuer: address }).nullish(),
});
type Given = z.infer<typeof Shape>;

export const NO_CLOUDS: CloudsConfig = {
  aws: { keys: null, webIdentity: null, region: null, endpoints: {} },
  gcp: { serviceAccount: null, endpoints: {} },
  azure: { clientId: null, clientSecret: null, tenantId: null, endpoints: {} },
  oci: null,
  vault: null,
  issuer: null,
};

export function readClouds(
  given: unknown,
  file: string,
  from: Surroundings,
  problems: Problems,
): CloudsConfig {
  const parsed = Shape.safeParse(given ?? {});
  if (!parsed.success) {
    for (const { path, message } of parsed.error.issues) {
      problems.add(`In ${file}, ${['clouds', ...path.map(String)].join('.')} ${message}.`);
    }
    return NO_CLOUDS;
  }
  const { aws, gcp, azure, oci, vault, identity } = parsed.data;
  const read = new CloudReader(file, from, problems);
  return {
    aws: read.aws(aws ?? {}),
    gcp: read.gcp(gcp ?? {}),
    azure: read.azure(azure ?? {}),
    oci: read.oci(oci ?? null),
    vault: read.vault(vault ?? {}),
    issuer: identity == null ? null : identity.issuer.replace(/\/+$/, ''),
  };
}

class CloudReader {
  readonly #file: string;
  readonly #from: Surroundings;
  readonly #problems: Problems;

  constructor(file: string, from: Surroundings, problems: Problems) {
    this.#file = file;
    this.#from = from;
    this.#problems = problems;
  }

  aws(given: NonNullable<Given['aws']>): AwsConfig {
    const { env } = this.#from;
    const id = this.#secret('aws.access_key_id', given.access_key_id, 'AWS_ACCESS_KEY_ID');
    const secret = this.#secret('aws.secret_access_key', given.secret_access_key, 'AWS_SECRET_ACCESS_KEY');
    const token = this.#secret('aws.session_token', given.session_token, 'AWS_SESSION_TOKEN');
    if ((id === null) !== (secret === null)) {
      this.#problems.add(
        `In ${this.#file}, clouds.aws has one of access_key_id and secret_access_key: give both, or none.`,
      );
    }
    const [tokenFile, roleArn] = [env['AWS_WEB_IDENTITY_TOKEN_FILE'], env['AWS_ROLE_ARN']];
    return {
      keys: id !== null && secret !== null ? { id, secret, token } : null,
      webIdentity: tokenFile && roleArn ? { tokenFile: this.#from.resolve(tokenFile), roleArn } : null,
      region: given.region ?? env['AWS_REGION'] ?? env['AWS_DEFAULT_REGION'] ?? null,
      endpoints: given.endpoints ?? {},
    };
  }

  gcp(given: NonNullable<Given['gcp']>): GcpConfig {
    const file = this.#from.env['GOOGLE_APPLICATION_CREDENTIALS'];
    const reference = given.service_account ?? (file ? `file:${file}` : undefined);
    return {
      serviceAccount: this.#document('gcp.service_account', reference),
      endpoints: given.endpoints ?? {},
    };
  }

  azure(given: NonNullable<Given['azure']>): AzureConfig {
    const { env } = this.#from;
    return {
      clientId: given.client_id ?? env['AZURE_CLIENT_ID'] ?? null,
      clientSecret: this.#secret('azure.client_secret', given.client_secret, 'AZURE_CLIENT_SECRET'),
      tenantId: given.tenant_id ?? env['AZURE_TENANT_ID'] ?? null,
      endpoints: given.endpoints ?? {},
    };
  }

  oci(given: NonNullable<Given['oci']> | null): OciConfig | null {
    if (given === null) return null;
    const privateKey = this.#document('oci.private_key', given.private_key);
    const { tenancy, user, fingerprint } = given;
    return privateKey === null
      ? null
      : { tenancy, user, fingerprint, privateKey, endpoints: given.endpoints ?? {} };
  }

  vault(given: NonNullable<Given['vault']>): VaultConfig | null {
    const { env } = this.#from;
    const at = given.address ?? env['VAULT_ADDR'];
    if (at === undefined) return null;
    const token = this.#secret('vault.token', given.token, 'VAULT_TOKEN');
    if (token === null) {
      // A VAULT_ADDR alone is often somebody's shell.
      if (given.address !== undefined) {
        this.#problems.add(
          `In ${this.#file}, clouds.vault.token is missing: give env:NAME or file:/path, or set VAULT_TOKEN.`,
        );
      }
      return null;
    }
    return {
      address: at.replace(/\/+$/, ''),
      token,
      namespace: given.namespace ?? env['VAULT_NAMESPACE'] ?? null,
    };
  }

  /** What the file refers to, or the variable that the cloud's own tools read. */
  #secret(name: string, reference: unknown, variable: string) {
    const given = reference ?? (this.#from.env[variable] ? `env:${variable}` : undefined);
    if (given === undefined) return null;
    return secretFromReference(given, `In ${this.#file}, clouds.${name}`, this.#from, this.#problems);
  }

  #document(name: string, reference: unknown) {
    if (reference === undefined || reference === null) return null;
    return secretTextFromReference(reference, `In ${this.#file}, clouds.${name}`, this.#from, this.#problems);
  }
}
