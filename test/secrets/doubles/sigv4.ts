// An independent reading of AWS Signature Version 4, from its published description, to check what keygate signs: this
// file shares no code with the library that signs. Tested against AWS's own published examples in sigv4.test.ts.

import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

export interface SignedRequest {
  readonly method: string;
  /** Path and query as they came. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

export interface Signature {
  readonly accessKeyId: string;
  readonly region: string;
  readonly service: string;
  readonly token: string | null;
}

/** Who signed the request, or throws what is wrong with its signature. */
export function verifySigV4(
  request: SignedRequest,
  secretOf: (accessKeyId: string) => string | undefined,
): Signature {
  const header = (name: string): string | null => {
    const value = request.headers[name];
    return value === undefined ? null : Array.isArray(value) ? value.join(',') : value;
  };
  const given =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
      header('authorization') ?? '',
    );
  if (given === null) throw new Error('there is no signature of version 4');
  const [, accessKeyId = '', day = '', region = '', service = '', signedNames = '', signature = ''] = given;
  const secret = secretOf(accessKeyId);
  if (secret === undefined) throw new Error('the access key is unknown');
  const date = header('x-amz-date') ?? '';
  if (!date.startsWith(day)) throw new Error('the date is not that of the scope');
  const names = signedNames.split(';');
  if (!names.includes('host')) throw new Error('host is not signed');
  for (const name of Object.keys(request.headers)) {
    if (name.startsWith('x-amz-') && !names.includes(name)) throw new Error(`${name} is not signed`);
  }
  const bodyHash = createHash('sha256').update(request.body).digest('hex');
  const declared = header('x-amz-content-sha256');
  if (declared !== null && declared !== bodyHash) throw new Error('the body is not the one that was signed');
  const [path = '/', query = ''] = request.url.split('?', 2);
  const canonical = [
    request.method,
    canonicalPath(path, service),
    query
      .split('&')
      .filter((pair) => pair !== '')
      .map((pair) => (pair.includes('=') ? pair : `${pair}=`))
      .sort()
      .join('&'),
    ...names.map((name) => `${name}:${(header(name) ?? '').trim().replace(/ +/g, ' ')}`),
    '',
    signedNames,
    bodyHash,
  ].join('\n');
  const scope = `${day}/${region}/${service}/aws4_request`;
  const text = ['AWS4-HMAC-SHA256', date, scope, createHash('sha256').update(canonical).digest('hex')].join(
    '\n',
  );
  let key: Buffer = Buffer.from(`AWS4${secret}`);
  for (const part of [day, region, service, 'aws4_request'])
    key = createHmac('sha256', key).update(part).digest();
  const wanted = createHmac('sha256', key).update(text).digest();
  if (!timingSafeEqual(wanted, Buffer.from(signature, 'hex'))) throw new Error('the signature is another');
  return { accessKeyId, region, service, token: header('x-amz-security-token') };
}

/** S3 signs the path as it is; all others encode it once more. */
function canonicalPath(path: string, service: string): string {
  if (service === 's3') return path;
  return path
    .split('/')
    .map((part) =>
      encodeURIComponent(part).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`),
    )
    .join('/');
}
