// A person with a browser, for tests: follows redirects with cookies and fills in an issuer's forms, until the issuer
// sends it to a loopback address, which it then visits.

export interface Visit {
  readonly status: number;
  readonly text: string;
}

const FORM = /<form[^>]*action="([^"]+)"[^>]*>([\s\S]*?)<\/form>/;
const HIDDEN = /<input[^>]*type="hidden"[^>]*>/g;

/** Opens `address` and signs in as `login`, wherever a form asks. */
export async function signInAt(address: string, login: string, userCode?: string): Promise<Visit> {
  const cookies = new Map<string, string>();
  let url = address;
  let body: URLSearchParams | null = null;
  for (let steps = 0; steps < 20; steps++) {
    const reply: Response = await fetch(url, {
      redirect: 'manual',
      headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') },
      ...(body !== null && { method: 'POST', body }),
    });
    for (const cookie of reply.headers.getSetCookie()) {
      const [pair = ''] = cookie.split(';');
      const equals = pair.indexOf('=');
      cookies.set(pair.slice(0, equals), pair.slice(equals + 1));
    }
    const text = await reply.text();
    const location = reply.headers.get('location');
    if (location !== null) {
      url = new URL(location, url).href;
      body = null;
      continue;
    }
    const [, action, inside = ''] = FORM.exec(text) ?? [];
    if (action === undefined) return { status: reply.status, text };
    body = fields(inside, login, userCode);
    url = new URL(action.replaceAll('&amp;', '&'), url).href;
  }
  throw new Error('The issuer never came to an end.');
}

function fields(form: string, login: string, userCode: string | undefined): URLSearchParams {
  const filled = new URLSearchParams();
  for (const [input] of form.matchAll(HIDDEN)) {
    filled.set(attribute(input, 'name'), attribute(input, 'value'));
  }
  if (/name="login"/.test(form)) {
    filled.set('login', login);
    filled.set('password', 'x');
  }
  if (userCode !== undefined && /name="user_code"/.test(form) && !filled.get('user_code')) {
    filled.set('user_code', userCode);
  }
  return filled;
}

function attribute(tag: string, name: string): string {
  return new RegExp(`${name}="([^"]*)"`).exec(tag)?.[1] ?? '';
}
