// Doubles of object storage: S3, Google Cloud Storage, Azure Blob Storage and Oracle's, by their published interfaces.
// Each keeps its objects in a map, and answers beside the key service of the same double.

import type { Answered, Asked } from './server.ts';
import type { Signature } from './sigv4.ts';

export class BucketDouble {
  readonly objects = new Map<string, Buffer>();
  /** Whether writing and reading are allowed. */
  allowed = true;

  s3(bucket: string, region: string): (asked: Asked, signature: Signature) => Answered {
    const headers = { 'x-amz-bucket-region': region };
    return (asked, signature) => {
      const [path = ''] = asked.url.split('?');
      if (!path.startsWith(`/${bucket}`))
        return { status: 404, text: '<Error><Code>NoSuchBucket</Code></Error>' };
      if (asked.method === 'HEAD') return { status: signature.region === region ? 200 : 301, headers };
      if (signature.region !== region) return { status: 301, headers };
      if (!this.allowed) return { status: 403, text: '<Error><Code>AccessDenied</Code></Error>' };
      return this.#object(asked, decodeURIComponent(path.slice(bucket.length + 2)), {
        put: 200,
        gone: 204,
        missing: '<Error><Code>NoSuchKey</Code></Error>',
      });
    };
  }

  gcs(bucket: string): (asked: Asked) => Answered | undefined {
    return (asked) => {
      const url = new URL(asked.url, 'http://gcs');
      const base = `/storage/v1/b/${bucket}`;
      const upload = url.pathname === `/upload${base}/o`;
      if (!upload && !url.pathname.startsWith(base)) return undefined;
      if (!this.allowed) return { status: 403, json: { error: { status: 'PERMISSION_DENIED' } } };
      if (url.pathname === base) return { status: 200, json: { location: 'EUROPE-WEST1' } };
      if (upload) {
        this.objects.set(url.searchParams.get('name') ?? '', asked.body);
        return { status: 200, json: {} };
      }
      return this.#object(asked, decodeURIComponent(url.pathname.slice(base.length + 3)), {
        put: 200,
        gone: 204,
      });
    };
  }

  azure(container: string): (asked: Asked) => Answered | undefined {
    return (asked) => {
      if (!asked.url.startsWith(`/${container}/`)) return undefined;
      if (!this.allowed)
        return { status: 403, headers: { 'x-ms-error-code': 'AuthorizationPermissionMismatch' } };
      if (asked.headers['x-ms-version'] === undefined) return { status: 400 };
      if (asked.method === 'PUT' && asked.headers['x-ms-blob-type'] !== 'BlockBlob') return { status: 400 };
      return this.#object(asked, decodeURIComponent(asked.url.slice(container.length + 2)), {
        put: 201,
        gone: 202,
      });
    };
  }

  oci(bucket: string): (asked: Asked) => Answered | undefined {
    return (asked) => {
      if (asked.url.startsWith('/n/?')) return { status: 200, text: '"namespace"' };
      const base = `/n/namespace/b/${bucket}/o/`;
      if (!asked.url.startsWith(base)) return undefined;
      if (!this.allowed) return { status: 404, json: { code: 'BucketNotFound' } };
      return this.#object(asked, decodeURIComponent(asked.url.slice(base.length)), { put: 200, gone: 204 });
    };
  }

  #object(
    asked: Asked,
    key: string,
    says: { readonly put: number; readonly gone: number; readonly missing?: string },
  ): Answered {
    switch (asked.method) {
      case 'PUT':
        this.objects.set(key, asked.body);
        return { status: says.put };
      case 'DELETE':
        this.objects.delete(key);
        return { status: says.gone };
      default: {
        const bytes = this.objects.get(key);
        return bytes === undefined ? { status: 404, text: says.missing ?? '' } : { status: 200, bytes };
      }
    }
  }
}
