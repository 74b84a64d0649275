// A double of AWS's STS (AssumeRole), KMS (Encrypt, Decrypt) and Secrets Manager (GetSecretValue), by their published
// interfaces. It checks every signature itself, and the external id that the role's trust policy asks for.

import { type Answered, type Asked, type Double, ServiceKey, startDouble } from './server.ts';
import { type Signature, verifySigV4 } from './sigv4.ts';

export const AWS_KEYS = { id: 'AKIADOUBLE0000000001', secret: 'double/secret+access/key/0000000000000001' };

export interface AwsDouble extends Double {
  readonly key: ServiceKey;
  /** Whether the role may be taken. */
  trusted: boolean;
  readonly secrets: Map<string, string>;
  /** Answers what is not of these services (storage). */
  other: ((asked: Asked, signature: Signature) => Answered) | null;
}

export interface AwsDoubleOptions {
  readonly keyArn: string;
  readonly roleArn: string;
  readonly externalId: () => string;
}

export async function startAws(options: AwsDoubleOptions): Promise<AwsDouble> {
  const session = { id: 'ASIADOUBLE0000000002', secret: 'session/secret', token: 'session-token' };
  const secretOf = (id: string) =>
    id === AWS_KEYS.id ? AWS_KEYS.secret : id === session.id ? session.secret : undefined;

  function sts(asked: Asked, signature: Signature): Answered {
    const form = new URLSearchParams(asked.body.toString());
    const wanted = form.get('Action') === 'AssumeRole' && form.get('RoleArn') === options.roleArn;
    if (signature.accessKeyId !== AWS_KEYS.id || !wanted || form.get('ExternalId') !== options.externalId()) {
      return { status: 403, text: stsError('AccessDenied') };
    }
    if (!double.trusted) return { status: 403, text: stsError('AccessDenied') };
    return {
      status: 200,
      text: `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>${session.id}</AccessKeyId><SecretAccessKey>${session.secret}</SecretAccessKey><SessionToken>${session.token}</SessionToken><Expiration>${new Date(Date.now() + 3_600_000).toISOString()}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`,
    };
  }

  function kms(asked: Asked, signature: Signature): Answered {
    if (signature.accessKeyId !== session.id || signature.token !== session.token)
      return failed('AccessDeniedException');
    const body = JSON.parse(asked.body.toString()) as Record<string, string>;
    if (body['KeyId'] !== options.keyArn) return failed('NotFoundException');
    if (!double.key.enabled) return failed('DisabledException');
    const context = JSON.stringify(body['EncryptionContext'] ?? {});
    switch (asked.headers['x-amz-target']) {
      case 'TrentService.Encrypt': {
        const sealed = double.key.encrypt(Buffer.from(body['Plaintext'] ?? '', 'base64'), context);
        return { status: 200, json: { KeyId: options.keyArn, CiphertextBlob: sealed.toString('base64') } };
      }
      case 'TrentService.Decrypt': {
        const plain = double.key.decrypt(Buffer.from(body['CiphertextBlob'] ?? '', 'base64'), context);
        if (plain === undefined) return failed('InvalidCiphertextException');
        return { status: 200, json: { KeyId: options.keyArn, Plaintext: plain.toString('base64') } };
      }
      default:
        return failed('UnknownOperationException');
    }
  }

  function secretsManager(asked: Asked): Answered {
    const { SecretId: id } = JSON.parse(asked.body.toString()) as { SecretId: string };
    const value = double.secrets.get(id);
    return value === undefined
      ? failed('ResourceNotFoundException')
      : { status: 200, json: { Name: id, SecretString: value, VersionStages: ['AWSCURRENT'] } };
  }

  const server = await startDouble((asked) => {
    let signature: Signature;
    try {
      signature = verifySigV4(asked, secretOf);
    } catch (error) {
      const json = { __type: 'SignatureDoesNotMatch', message: error instanceof Error ? error.message : '' };
      return { status: 403, json };
    }
    switch (signature.service) {
      case 'sts':
        return sts(asked, signature);
      case 'kms':
        return kms(asked, signature);
      case 'secretsmanager':
        return secretsManager(asked);
      default:
        return double.other?.(asked, signature) ?? failed('UnknownService');
    }
  });
  const double: AwsDouble = Object.assign(server, {
    key: new ServiceKey(),
    trusted: true,
    secrets: new Map<string, string>(),
    other: null,
  });
  return double;
}

function failed(code: string): Answered {
  return { status: 400, json: { __type: `com.amazonaws.kms#${code}` } };
}

function stsError(code: string): string {
  return `<ErrorResponse><Error><Type>Sender</Type><Code>${code}</Code><Message>no</Message></Error></ErrorResponse>`;
}
