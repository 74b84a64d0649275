// Secrets that others keep, read where they are: Vault and OpenBao, AWS Secrets Manager, Google Secret Manager.

import { CloudError, neededAt } from '../clouds/error.ts';
import type { Clouds } from '../clouds/open.ts';
import type { RemoteReference } from './references.ts';
import type { Secret } from './secret.ts';
import { credentialOf, fieldOf, SecretError, SecretGone } from './text.ts';

type Kept = Pick<Clouds, 'aws' | 'gcp' | 'vault'>;

/** @throws SecretError, SecretGone */
export async function readRemote(reference: RemoteReference, clouds: Kept): Promise<Secret> {
  try {
    return credentialOf(await textOf(reference, clouds));
  } catch (error) {
    if (!(error instanceof CloudError)) throw error;
    const reason = error.message.replace(/\.$/, '');
    throw error.reason === 'missing' ? new SecretGone(reason) : new SecretError(reason);
  }
}

async function textOf(reference: RemoteReference, { aws, gcp, vault }: Kept): Promise<string> {
  switch (reference.scheme) {
    case 'vault': {
      const { data } = await vault.call(reference.path);
      // Version 2 of the engine has the fields one level deeper, beside what it knows of them.
      const inner = typeof data === 'object' && data !== null && 'data' in data ? data.data : data;
      return fieldOf(JSON.stringify(inner ?? null), reference.field);
    }
    case 'aws-sm': {
      const region = /^arn:[^:]*:secretsmanager:([^:]+):/.exec(reference.id)?.[1] ?? aws.region;
      const value = await aws.json(
        await aws.own(),
        'secretsmanager',
        region,
        'secretsmanager.GetSecretValue',
        { SecretId: reference.id },
      );
      return fieldOf(neededAt(value, 'AWS secretsmanager', 'SecretString'), reference.field);
    }
    case 'gcp-sm': {
      const value = await gcp.json(await gcp.own(), {
        method: 'GET',
        url: `${gcp.endpoint('secretmanager')}/v1/${reference.version}:access`,
      });
      const data = neededAt(value, 'Google Secret Manager', 'payload', 'data');
      return fieldOf(Buffer.from(data, 'base64').toString('utf8'), reference.field);
    }
  }
}
