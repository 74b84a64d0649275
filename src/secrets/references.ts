// References to secrets: what stands in keygate.yaml in place of a secret.
//
//     env:NAME                              a variable of the server's environment; read once, at the start
//     file:/path                            a file; read again every `secrets.refresh`
//     sealed:NAME                           a secret that keygate keeps itself: `keygate secrets set NAME`
//     vault:secret/data/openai#api_key      Vault or OpenBao, key/value version 2 (or 1), and the field
//     aws-sm:NAME-or-ARN#field              AWS Secrets Manager; without #field the whole text
//     gcp-sm:projects/P/secrets/NAME#field  Google Secret Manager; /versions/N pins one, else the latest

export type Reference =
  | { readonly scheme: 'env'; readonly name: string }
  | { readonly scheme: 'file'; readonly path: string }
  | { readonly scheme: 'sealed'; readonly name: string }
  | RemoteReference;

/** One that is read over the network. */
export type RemoteReference =
  | { readonly scheme: 'vault'; readonly path: string; readonly field: string }
  | { readonly scheme: 'aws-sm'; readonly id: string; readonly field: string | null }
  | { readonly scheme: 'gcp-sm'; readonly version: string; readonly field: string | null };

export const SECRET_NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;
const FIELD = /^[A-Za-z0-9_.-]{1,128}$/;

/** Undefined: the text is no reference, or not a whole one. A file's path is as it was written. */
export function parseReference(text: string): Reference | undefined {
  const colon = text.indexOf(':');
  const rest = text.slice(colon + 1);
  if (text.length > 4096 || rest === '') return undefined;
  switch (text.slice(0, colon)) {
    case 'env':
      return /^[A-Za-z_][A-Za-z0-9_]{0,255}$/.test(rest) ? { scheme: 'env', name: rest } : undefined;
    case 'file':
      return rest.trim() === '' ? undefined : { scheme: 'file', path: rest };
    case 'sealed':
      return SECRET_NAME.test(rest) ? { scheme: 'sealed', name: rest } : undefined;
    case 'vault': {
      const [path = '', field = '', ...more] = rest.split('#');
      const whole = /^[A-Za-z0-9_.-]+(?:\/[A-Za-z0-9_.-]+)+$/.test(path) && !climbs(path);
      return more.length === 0 && whole && FIELD.test(field) ? { scheme: 'vault', path, field } : undefined;
    }
    case 'aws-sm':
      return withField(rest, /^[A-Za-z0-9/_+=.@!:-]{1,2048}$/, (id, field) => ({
        scheme: 'aws-sm',
        id,
        field,
      }));
    case 'gcp-sm':
      return withField(
        rest,
        /^projects\/[a-z0-9:.-]{1,64}\/secrets\/[A-Za-z0-9_-]{1,255}(?:\/versions\/[A-Za-z0-9_-]{1,63})?$/,
        (name, field) => ({
          scheme: 'gcp-sm',
          version: name.includes('/versions/') ? name : `${name}/versions/latest`,
          field,
        }),
      );
    default:
      return undefined;
  }
}

function withField(
  text: string,
  form: RegExp,
  make: (name: string, field: string | null) => Reference,
): Reference | undefined {
  const [name = '', field, ...more] = text.split('#');
  if (more.length > 0 || !form.test(name) || climbs(name)) {
    return undefined;
  }
  return field === undefined ? make(name, null) : FIELD.test(field) ? make(name, field) : undefined;
}

/** Parts that a server would take for a way out of the place that is meant. */
function climbs(path: string): boolean {
  return path.split('/').some((part) => part === '.' || part === '..');
}

/** As it would be written, for lists and logs: it names a place, and holds no secret. */
export function showReference(reference: Reference): string {
  switch (reference.scheme) {
    case 'env':
    case 'sealed':
      return `${reference.scheme}:${reference.name}`;
    case 'file':
      return `file:${reference.path}`;
    case 'vault':
      return `vault:${reference.path}#${reference.field}`;
    case 'aws-sm':
      return `aws-sm:${reference.id}${reference.field === null ? '' : `#${reference.field}`}`;
    case 'gcp-sm':
      return `gcp-sm:${reference.version}${reference.field === null ? '' : `#${reference.field}`}`;
  }
}
