// Certificates, workload identity, customer-managed keys and storage.

import { generateKeyPairSync } from 'node:crypto';
import { NotFoundError } from 'openai';
import { expect } from 'vitest';
import { expectListed, type Scenario, several, some } from './scenario.ts';

/** A certificate authority of nobody, made with openssl for this test; its key was thrown away. */
const AUTHORITY = `-----BEGIN CERTIFICATE-----
MIIBmTCCAT+gAwIBAgIUdeemFOTeidvn0TXjlN6Ixba66sUwCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOQ29uZm9ybWFuY2UgQ0EwIBcNMjYxMTI1MTMxOTI2WhgPMjEy
NjExMDExMzE5MjZaMBkxFzAVBgNVBAMMDkNvbmZvcm1hbmNlIENBMFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAES3L/DxCDx8pjW+/EAs34IBZEqzwZcnygIPGvShSV
ZfLV9RGaB5f3Ue2B0IgGNtcobQUEOi/2RjyNY9rNRBypn6NjMGEwHQYDVR0OBBYE
FBwuIbl8OKYrzuXZnx/bTMmmriwcMB8GA1UdIwQYMBaAFBwuIbl8OKYrzuXZnx/b
TMmmriwcMA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgEGMAoGCCqGSM49
BAMCA0gAMEUCIQDKdVByTurDV2QyPSOcZFroxl0DKUK8jgyNKLv34JhbHAIgWcwc
ySgqp1sRfSk4/rFi+IXqsoJj/iCq9KJQaxTrRIw=
-----END CERTIFICATE-----
`;

export async function certificates({ organization }: Scenario): Promise<void> {
  const { id: project } = await organization.projects.create({ name: 'Certified' });
  const ofOrganization = organization.certificates;
  const ofProject = organization.projects.certificates;
  const { id } = await ofOrganization.create({ certificate: AUTHORITY, name: 'Nobody’s' });
  expect(await ofOrganization.retrieve(id, { include: ['content'] })).toMatchObject({
    id,
    certificate_details: { content: expect.stringContaining('BEGIN CERTIFICATE') },
  });
  expect(await ofOrganization.update(id, { name: 'Ours' })).toMatchObject({ id, name: 'Ours' });
  await expectListed((page) => ofOrganization.list(page), [id]);

  const ids = { certificate_ids: [id] };
  expect((await ofProject.activate(project, ids)).data).toMatchObject([{ id, active: true }]);
  await expectListed((page) => ofProject.list(project, page), [id]);
  expect((await ofProject.deactivate(project, ids)).data).toMatchObject([{ id, active: false }]);
  // While it is active for the whole organization, this test's own calls would need a certificate: not for long.
  expect((await ofOrganization.activate(ids)).data).toMatchObject([{ id, active: true }]);
  expect((await ofOrganization.deactivate(ids)).data).toMatchObject([{ id, active: false }]);
  expect(await ofOrganization.delete(id)).toMatchObject({ id });
  await expect(ofOrganization.retrieve(id)).rejects.toThrow(NotFoundError);
}

export async function workloadIdentity({ organization }: Scenario): Promise<void> {
  const { id: project } = await organization.projects.create({ name: 'Workloads' });
  const account = await organization.projects.serviceAccounts.create(project, { name: 'runner' });
  const { workloadIdentityProviders: providers } = organization;
  const made = await several(3, (n) =>
    providers.create({
      name: `CI ${n}`,
      type: 'oidc',
      issuer: `https://ci-${n}.example.com`,
      audience: 'keygate',
      verification: { type: 'uploaded_jwks', jwks: { keys: [publicKey()] } },
    }),
  );
  await expectListed(
    (page) => providers.list(page),
    made.map(({ id }) => id),
  );
  const { id } = some(made[0], 'provider');
  expect(await providers.retrieve(id)).toMatchObject({ id, name: 'CI 0' });
  expect(await providers.update(id, { description: 'Builds.' })).toMatchObject({ description: 'Builds.' });

  const { federationRules: rules } = providers;
  const ruled = await several(3, (n) =>
    rules.create(id, {
      project_id: project,
      service_account_id: account.id,
      attribute_matchers: { sub: `repo:${n}` },
    }),
  );
  const of = { workload_identity_provider_id: id };
  await expectListed(
    (page) => rules.list(id, page),
    ruled.map((rule) => rule.id),
  );
  const rule = some(ruled[0], 'rule').id;
  expect(await rules.retrieve(rule, of)).toMatchObject({ id: rule });
  expect(await rules.update(rule, { ...of, enabled: false })).toMatchObject({ id: rule, enabled: false });
  expect(await rules.delete(rule, of)).toMatchObject({ id: rule, deleted: true });
  await expect(rules.retrieve(rule, of)).rejects.toThrow(NotFoundError);
  for (const other of ruled.slice(1)) await rules.delete(other.id, of);
  expect(await providers.delete(id)).toMatchObject({ id, deleted: true });
  await expect(providers.retrieve(id)).rejects.toThrow(NotFoundError);
}

function publicKey(): Record<string, unknown> {
  const { publicKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...key.export({ format: 'jwk' }), kid: 'one', alg: 'ES256', use: 'sig' };
}

export async function externalKeys({ organization, server }: Scenario): Promise<void> {
  const { externalKeys: keys } = organization;
  const made = await several(3, (n) =>
    keys.create({
      type: 'aws',
      name: `Key ${n}`,
      external_id: server.organizationId,
      kms_arn: `arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-12345678900${n}`,
      role_arn: 'arn:aws:iam::111122223333:role/keygate',
    }),
  );
  await expectListed(
    (page) => keys.list(page),
    made.map(({ id }) => id),
  );
  const { id } = some(made[0], 'external key');
  expect(await keys.retrieve(id)).toMatchObject({ id, name: 'Key 0', type: 'aws' });
  // Nobody answers for this key here, and that is what is said.
  expect(await keys.validate(id)).toMatchObject({ status: expect.any(String) });
  expect(await keys.delete(id)).toMatchObject({ id });
  await expect(keys.retrieve(id)).rejects.toThrow(NotFoundError);
}

export async function externalStorage({ organization }: Scenario): Promise<void> {
  const { externalStorage: storage } = organization;
  const owners = await several(3, (n) => organization.projects.create({ name: `Kept elsewhere ${n}` }));
  const made = await several(3, (n) =>
    storage.create({
      project_id: some(owners[n], 'project').id,
      provider: { type: 'aws', bucket: `bucket-${n}`, role_arn: 'arn:aws:iam::111122223333:role/keygate' },
    }),
  );
  await expectListed(
    (page) => storage.list(page),
    made.map(({ id }) => id),
  );
  const { id } = some(made[0], 'storage');
  expect(await storage.retrieve(id)).toMatchObject({ id });
  expect(await storage.validate(id)).toMatchObject({ id });
  expect(await storage.delete(id)).toMatchObject({ id, deleted: true });
  await expect(storage.retrieve(id)).rejects.toThrow(NotFoundError);
}
