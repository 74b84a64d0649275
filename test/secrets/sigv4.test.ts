// Signatures of version 4 against AWS's own published examples: what signs, and what checks it in the doubles.

import { AwsV4Signer } from 'aws4fetch';
import { describe, expect, it } from 'vitest';
import { verifySigV4 } from './doubles/sigv4.ts';

interface Example {
  readonly what: string;
  readonly accessKeyId: string;
  readonly secret: string;
  readonly service: string;
  readonly datetime: string;
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly signature: string;
}

const EXAMPLES: readonly Example[] = [
  {
    what: 'get-vanilla of the Signature Version 4 test suite',
    accessKeyId: 'AKIDEXAMPLE',
    secret: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
    service: 'service',
    datetime: '20150830T123600Z',
    url: 'https://example.amazonaws.com/',
    headers: {},
    signature: '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31',
  },
  {
    what: 'ListUsers of the general reference',
    accessKeyId: 'AKIDEXAMPLE',
    secret: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
    service: 'iam',
    datetime: '20150830T123600Z',
    url: 'https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08',
    headers: { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' },
    signature: '5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7',
  },
  {
    what: 'GET Object of the S3 reference',
    accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
    secret: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
    service: 's3',
    datetime: '20130524T000000Z',
    url: 'https://examplebucket.s3.amazonaws.com/test.txt',
    headers: {
      range: 'bytes=0-9',
      'x-amz-content-sha256': 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    },
    signature: 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
  },
];

describe.each(EXAMPLES)('$what', ({ accessKeyId, secret, service, datetime, url, headers, signature }) => {
  const region = 'us-east-1';

  it('is what the signer makes of it', async () => {
    const signed = await new AwsV4Signer({
      url,
      method: 'GET',
      headers,
      accessKeyId,
      secretAccessKey: secret,
      service,
      region,
      datetime,
      allHeaders: true,
    }).sign();
    expect(signed.headers.get('authorization')).toContain(`Signature=${signature}`);
  });

  it('is taken by the check of the doubles, and nothing near it is', () => {
    const { host, pathname, search } = new URL(url);
    const all: Record<string, string> = { ...headers, host, 'x-amz-date': datetime };
    const names = Object.keys(all).sort().join(';');
    const request = (sent: string, changed: Record<string, string> = {}) => ({
      method: 'GET',
      url: pathname + search,
      headers: {
        ...all,
        ...changed,
        authorization: `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${datetime.slice(0, 8)}/${region}/${service}/aws4_request, SignedHeaders=${names}, Signature=${sent}`,
      },
      body: Buffer.alloc(0),
    });
    const secretOf = (id: string) => (id === accessKeyId ? secret : undefined);
    expect(verifySigV4(request(signature), secretOf)).toMatchObject({ accessKeyId, region, service });
    expect(() => verifySigV4(request(signature, { host: 'elsewhere.example' }), secretOf)).toThrow('another');
    expect(() => verifySigV4(request(signature.replace(/^./, '0')), secretOf)).toThrow('another');
    expect(() => verifySigV4({ ...request(signature), body: Buffer.from('x') }, secretOf)).toThrow();
    expect(() => verifySigV4({ ...request(signature), method: 'PUT' }, secretOf)).toThrow('another');
    expect(() => verifySigV4(request(signature), () => undefined)).toThrow('unknown');
  });
});
