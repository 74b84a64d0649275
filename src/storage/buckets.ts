// Buckets of AWS, Google Cloud, Azure and Oracle Cloud: one object written, read or deleted at a time, each of at most
// a piece of a file, by the clouds' own REST interfaces.

import { createHash } from 'node:crypto';
import { awsError } from '../clouds/aws.ts';
import { azureError } from '../clouds/azure.ts';
import { CloudError } from '../clouds/error.ts';
import { gcpError } from '../clouds/gcp.ts';
import { ociError } from '../clouds/oci.ts';
import type { Clouds } from '../clouds/open.ts';
import type { OutgoingReply } from '../platform/outgoing.ts';
import type { ExternalStorage, StorageLocation } from './model.ts';

/** Of one object, in bytes. */
export const OBJECT_MAX = 4 * 1024 * 1024;
const TIMEOUT_MS = 60_000;

/** Every method rejects with CloudError. */
export interface Bucket {
  put(key: string, bytes: Buffer): Promise<void>;
  get(key: string): Promise<Buffer>;
  /** An object that is not there (any more) is no fault. */
  remove(key: string): Promise<void>;
  /** The region that it is in; `unknown` where the cloud does not tell. */
  region(): Promise<string>;
}

type Of = Pick<ExternalStorage, 'organizationId' | 'location'> & { readonly region?: string };

export function bucketAt(storage: Of, clouds: Clouds): Bucket {
  const { location, organizationId } = storage;
  switch (location.type) {
    case 'aws':
      return s3(location.config, organizationId, storage.region, clouds);
    case 'gcp':
      return gcs(location.config, organizationId, clouds);
    case 'azure':
      return blobs(location.config, organizationId, clouds);
    case 'oci':
      return objects(location.config, clouds);
  }
}

type Config<T> = Extract<StorageLocation, { type: T }>['config'];

function expect(
  reply: OutgoingReply,
  fault: (reply: OutgoingReply) => CloudError,
  ...statuses: number[]
): OutgoingReply {
  if (!statuses.includes(reply.status)) throw fault(reply);
  return reply;
}

/** Each part of a key as it stands in a path. */
function pathOf(key: string): string {
  return key.split('/').map(encodeURIComponent).join('/');
}

function s3(config: Config<'aws'>, externalId: string, known: string | undefined, { aws }: Clouds): Bucket {
  const send = async (
    method: 'GET' | 'PUT' | 'DELETE' | 'HEAD',
    path: string,
    body?: Buffer,
    region = known,
  ) => {
    const where = region === undefined || region === 'unknown' ? 'us-east-1' : region;
    return await aws.send(await aws.assume(config.role_arn, externalId), {
      service: 's3',
      region: where,
      method,
      url: `${aws.endpoint('s3', where)}/${config.bucket}${path}`,
      headers: {
        'x-amz-content-sha256': createHash('sha256')
          .update(body ?? '')
          .digest('hex'),
      },
      ...(body !== undefined && { body }),
      maxBytes: OBJECT_MAX,
      timeoutMs: TIMEOUT_MS,
    });
  };
  const fault = (reply: OutgoingReply) => {
    // The next question learns whether the role may still be taken.
    aws.forget(config.role_arn, externalId);
    return awsError(
      's3',
      reply.status,
      /<Code>([A-Za-z0-9]+)<\/Code>/.exec(reply.body.toString('utf8'))?.[1],
    );
  };
  return {
    put: async (key, bytes) => void expect(await send('PUT', `/${pathOf(key)}`, bytes), fault, 200),
    get: async (key) => expect(await send('GET', `/${pathOf(key)}`), fault, 200).body,
    remove: async (key) => void expect(await send('DELETE', `/${pathOf(key)}`), fault, 204, 200, 404),
    async region() {
      // Said with every answer about a bucket, refusals and redirects to it included.
      const reply = await send('HEAD', '', undefined, 'us-east-1');
      const region = reply.headers.get('x-amz-bucket-region');
      if (region !== null && /^[a-z0-9-]{1,32}$/.test(region)) return region;
      expect(reply, fault, 200);
      return 'unknown';
    },
  };
}

function gcs(config: Config<'gcp'>, subject: string, { gcp }: Clouds): Bucket {
  const federation = {
    projectNumber: config.workload_identity_project_number,
    pool: config.workload_identity_pool_id,
    provider: config.workload_identity_provider_id,
    audience: subject,
    subject,
  };
  const send = async (method: 'GET' | 'POST' | 'DELETE', path: string, body?: Buffer) =>
    await gcp.send(await gcp.federated(federation), {
      method,
      url: `${gcp.endpoint('storage')}${path}`,
      ...(body !== undefined && { body, headers: { 'content-type': 'application/octet-stream' } }),
      maxBytes: OBJECT_MAX,
      timeoutMs: TIMEOUT_MS,
    });
  const fault = (reply: OutgoingReply) => {
    gcp.forget(federation);
    return gcpError(reply);
  };
  const bucket = `/storage/v1/b/${config.bucket}`;
  const object = (key: string) => `${bucket}/o/${encodeURIComponent(key)}`;
  return {
    async put(key, bytes) {
      const path = `/upload${bucket}/o?uploadType=media&name=${encodeURIComponent(key)}`;
      expect(await send('POST', path, bytes), fault, 200);
    },
    get: async (key) => expect(await send('GET', `${object(key)}?alt=media`), fault, 200).body,
    remove: async (key) => void expect(await send('DELETE', object(key)), fault, 204, 200, 404),
    async region() {
      const reply = expect(await send('GET', `${bucket}?fields=location`), fault, 200);
      return (
        /"location"\s*:\s*"([A-Za-z0-9-]{1,32})"/.exec(reply.body.toString('utf8'))?.[1]?.toLowerCase() ??
        'unknown'
      );
    },
  };
}

const BLOB_VERSION = '2021-12-02';

function blobs(config: Config<'azure'>, subject: string, { azure }: Clouds): Bucket {
  const base = (
    azure.config.endpoints.blob ?? `https://${config.account_name}.blob.core.windows.net`
  ).replace(/\/+$/, '');
  const send = async (method: 'GET' | 'PUT' | 'DELETE', key: string, body?: Buffer) =>
    await azure.send(await azure.token(config.tenant_id, 'https://storage.azure.com/.default', subject), {
      method,
      url: `${base}/${config.container}/${pathOf(key)}`,
      headers: {
        'x-ms-version': BLOB_VERSION,
        ...(body !== undefined && {
          'x-ms-blob-type': 'BlockBlob',
          'content-type': 'application/octet-stream',
        }),
      },
      ...(body !== undefined && { body }),
      maxBytes: OBJECT_MAX,
      timeoutMs: TIMEOUT_MS,
    });
  return {
    put: async (key, bytes) => void expect(await send('PUT', key, bytes), azureError, 201),
    get: async (key) => expect(await send('GET', key), azureError, 200).body,
    remove: async (key) => void expect(await send('DELETE', key), azureError, 202, 404),
    region: async () => 'unknown',
  };
}

function objects(config: Config<'oci'>, { oci }: Clouds): Bucket {
  const base = () =>
    oci.endpoint('storage', config.region, `https://objectstorage.${config.region}.oraclecloud.com`);
  let namespace: string | null = null;
  const send = async (method: 'GET' | 'PUT' | 'DELETE', path: string, body?: Buffer) =>
    await oci.send({
      method,
      url: `${base()}${path}`,
      ...(body !== undefined && { body, contentType: 'application/octet-stream' }),
      maxBytes: OBJECT_MAX,
      timeoutMs: TIMEOUT_MS,
    });
  const object = async (key: string) => {
    if (namespace === null) {
      const query = new URLSearchParams({ compartmentId: config.tenancy_ocid });
      const reply = expect(await send('GET', `/n/?${query}`), ociError, 200);
      namespace = /^"([A-Za-z0-9_-]{1,100})"$/.exec(reply.body.toString('utf8').trim())?.[1] ?? null;
      if (namespace === null) throw new CloudError('unavailable', 'Oracle Cloud did not name its namespace.');
    }
    return `/n/${namespace}/b/${encodeURIComponent(config.bucket)}/o/${pathOf(key)}`;
  };
  return {
    put: async (key, bytes) => void expect(await send('PUT', await object(key), bytes), ociError, 200),
    get: async (key) => expect(await send('GET', await object(key)), ociError, 200).body,
    remove: async (key) => void expect(await send('DELETE', await object(key)), ociError, 204, 200, 404),
    region: async () => config.region,
  };
}
