// All five key services as doubles, the configuration that leads a server to them, and a key of each as it is
// registered.

import { generateKeyPairSync } from 'node:crypto';
import type OpenAI from 'openai';
import { AWS_KEYS, type AwsDouble, startAws } from './doubles/aws.ts';
import { type AzureDouble, startAzure } from './doubles/azure.ts';
import { type GcpDouble, startGcp } from './doubles/gcp.ts';
import { type OciDouble, startOci } from './doubles/oci.ts';
import { startVault, VAULT_TOKEN, type VaultDouble } from './doubles/vault.ts';

export const KEY_ARN = 'arn:aws:kms:eu-west-1:123456789012:key/0000aaaa-1111-2222-3333-444455556666';
export const ROLE_ARN = 'arn:aws:iam::123456789012:role/keygate';
const TENANT = '11111111-2222-3333-4444-555555555555';
const KEY_OCID = 'ocid1.key.oc1.eu-frankfurt-1.aaaa.bbbbccccdddd';
const ISSUER = 'https://keys.example.com/v1/keygate/cloud_identity';
const GCP_KEY = 'projects/acme/locations/europe-west1/keyRings/ring/cryptoKeys/key';

export interface Clouds {
  readonly aws: AwsDouble;
  readonly gcp: GcpDouble;
  readonly azure: AzureDouble;
  readonly oci: OciDouble;
  readonly vault: VaultDouble;
  /** For keygate.yaml. */
  readonly yaml: string;
  readonly env: Record<string, string>;
  /** The organization's id, which the customer's trust policies ask for. */
  organizationId: string;
  close(): Promise<void>;
}

export async function startClouds(): Promise<Clouds> {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const clouds = { organizationId: '' };
  const externalId = () => clouds.organizationId;
  const [aws, gcp, azure, oci, vault] = await Promise.all([
    startAws({ keyArn: KEY_ARN, roleArn: ROLE_ARN, externalId }),
    startGcp({
      issuer: ISSUER,
      audience: externalId,
      pool: '//iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/pool/providers/keygate',
      keyName: GCP_KEY,
    }),
    startAzure({ tenantId: TENANT, clientId: 'client', clientSecret: 'azure-client-secret', keyName: 'key' }),
    startOci({ keyId: 'ocid1.tenancy.oc1..t/ocid1.user.oc1..u/aa:bb', publicKey, keyOcid: KEY_OCID }),
    startVault('customer'),
  ]);
  const yaml = [
    'outgoing: {allow_private: [127.0.0.1/32]}',
    'clouds:',
    `  identity: {issuer: "${ISSUER}"}`,
    '  aws:',
    '    access_key_id: env:CLOUD_AWS_ID',
    '    secret_access_key: env:CLOUD_AWS_SECRET',
    '    region: eu-west-1',
    `    endpoints: {kms: "${aws.url}", sts: "${aws.url}", s3: "${aws.url}", secretsmanager: "${aws.url}"}`,
    `  gcp: {endpoints: {kms: "${gcp.url}", sts: "${gcp.url}", storage: "${gcp.url}"}}`,
    '  azure:',
    '    client_id: client',
    '    client_secret: env:CLOUD_AZURE',
    `    endpoints: {login: "${azure.url}", vault: "${azure.url}", blob: "${azure.url}"}`,
    '  oci:',
    '    tenancy: ocid1.tenancy.oc1..t',
    '    user: ocid1.user.oc1..u',
    '    fingerprint: "aa:bb"',
    '    private_key: env:CLOUD_OCI',
    `    endpoints: {kms: "${oci.url}", storage: "${oci.url}"}`,
    `  vault: {address: "${vault.url}", token: env:CLOUD_VAULT}`,
    '',
  ].join('\n');
  return Object.assign(clouds, {
    aws,
    gcp,
    azure,
    oci,
    vault,
    yaml,
    env: {
      CLOUD_AWS_ID: AWS_KEYS.id,
      CLOUD_AWS_SECRET: AWS_KEYS.secret,
      CLOUD_AZURE: 'azure-client-secret',
      CLOUD_OCI: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      CLOUD_VAULT: VAULT_TOKEN,
    },
    close: async () => {
      await Promise.all([aws, gcp, azure, oci, vault].map((double) => double.close()));
    },
  });
}

type CreateParams = OpenAI.Admin.Organization.ExternalKeyCreateParams;

/** How a key of each service is registered; Vault's is keygate's own, and has a route of its own. */
export const REGISTRATIONS: Record<
  'aws' | 'gcp' | 'azure' | 'oci',
  (organizationId: string) => CreateParams
> = {
  aws: (organizationId) => ({
    type: 'aws',
    name: 'in AWS',
    kms_arn: KEY_ARN,
    role_arn: ROLE_ARN,
    external_id: organizationId,
  }),
  gcp: (organizationId) => ({
    type: 'gcp',
    name: 'in Google Cloud',
    audience: organizationId,
    kms_project_id: 'acme',
    kms_key_location: 'europe-west1',
    kms_key_ring_name: 'ring',
    kms_key_name: 'key',
    workload_identity_pool_id: 'pool',
    workload_identity_project_number: '42',
    workload_identity_provider_id: 'keygate',
  }),
  azure: () => ({
    type: 'azure',
    name: 'in Azure',
    key_name: 'key',
    tenant_id: TENANT,
    vault_uri: 'https://acme.vault.azure.net',
  }),
  oci: () => ({
    type: 'oci',
    name: 'in Oracle Cloud',
    key_ocid: KEY_OCID,
    region: 'eu-frankfurt-1',
    vault_ocid: 'ocid1.vault.oc1.eu-frankfurt-1.bbbb.aaaacccc',
  }),
};
export const VAULT_REGISTRATION = { type: 'vault', name: 'in Vault', key_name: 'customer' };
