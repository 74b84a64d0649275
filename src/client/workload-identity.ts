// For programs that sign in by workload identity: the official client's `workloadIdentity` option has the address of its
// token endpoint built in, and this `fetch` leads it to a keygate server instead. Every other request goes where it
// went.
//
//     const client = new OpenAI({
//       baseURL: 'https://keygate.example.com/v1',
//       workloadIdentity: { identityProviderId, serviceAccountId, provider },
//       fetch: keygateFetch('https://keygate.example.com'),
//     });

const BUILT_IN = 'https://auth.openai.com/oauth/token';

/** @param server the address of the server, without a path */
export function keygateFetch(server: string | URL, send: typeof fetch = fetch): typeof fetch {
  const endpoint = new URL('/oauth/token', server).href;
  return (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    if (url !== BUILT_IN) return send(input, init);
    return send(input instanceof Request ? new Request(endpoint, input) : endpoint, init);
  };
}
