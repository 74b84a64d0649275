// The queries about certificates. Every look-up names the organization, and what is active in a project the project. A
// change is made inside the caller's `Store.write` with its audit entry, and announced as a change of the organization or
// project in which it counts, whose state every node then reads again (src/keys/states.ts).

import type { Selectable } from 'kysely';
import { beyond, cut, type Page, type PageRequest, unknownAfter } from '../../access/page.ts';
import { getActiveProject } from '../../access/store.ts';
import { invalidParameter } from '../../access/validation.ts';
import { append } from '../../audit/chain.ts';
import type { Attribution } from '../../audit/model.ts';
import { ApiError } from '../../platform/errors.ts';
import { newId, type OrganizationId, type ProjectId } from '../../platform/ids.ts';
import type { CertificateTable } from '../../store/schema-identity.ts';
import type { Db, Store, Tx } from '../../store/store.ts';
import type { ReadCertificate } from './pem.ts';

/** The platform's bound. */
const CERTIFICATES_MAX = 50;

export type Certificate = Selectable<CertificateTable>;
export type ListedCertificate = Certificate & { readonly active: boolean };

/** Where certificates are active: an organization, or one project of it. */
export interface CertificateScope {
  readonly organizationId: OrganizationId;
  /** Null: the organization. */
  readonly projectId: ProjectId | null;
}

function noCertificate(id: string): ApiError {
  const shown = /^[0-9A-Za-z_-]{1,64}$/.test(id) ? `'${id}'` : 'with this id';
  return new ApiError(404, `The certificate ${shown} was not found.`);
}

export async function getCertificate(
  db: Db | Tx,
  organizationId: OrganizationId,
  id: string,
): Promise<Certificate> {
  const found = await db
    .selectFrom('certificates')
    .selectAll()
    .where('organization_id', '=', organizationId)
    .where('id', '=', id)
    .executeTakeFirst();
  if (found === undefined) throw noCertificate(id);
  return found;
}

/** All certificates of the organization, and whether each is active in the scope. */
function listed(db: Db | Tx, { organizationId, projectId }: CertificateScope) {
  return db
    .selectFrom('certificates')
    .leftJoin('active_certificates', (join) =>
      join
        .onRef('active_certificates.certificate_id', '=', 'certificates.id')
        .on('active_certificates.project_id', '=', projectId ?? ''),
    )
    .selectAll('certificates')
    .select('active_certificates.certificate_id as active_id')
    .where('certificates.organization_id', '=', organizationId);
}

export async function listCertificates(
  db: Db,
  scope: CertificateScope,
  page: PageRequest,
): Promise<Page<ListedCertificate>> {
  const order = page.order ?? 'asc';
  let query = listed(db, scope);
  if (page.after !== undefined) {
    const place = await getCertificate(db, scope.organizationId, page.after).catch((error: unknown) => {
      throw error instanceof ApiError && error.status === 404 ? unknownAfter() : error;
    });
    query = query.where(beyond('certificates', place, order));
  }
  const rows = await query
    .orderBy('certificates.created_at', order)
    .orderBy('certificates.id', order)
    .limit(page.limit + 1)
    .execute();
  const { rows: kept, hasMore } = cut(rows, page.limit);
  return { rows: kept.map(({ active_id, ...row }) => ({ ...row, active: active_id !== null })), hasMore };
}

export async function createCertificate(
  tx: Tx,
  by: Attribution,
  read: ReadCertificate,
  name: string | null,
): Promise<Certificate> {
  const known = await tx
    .selectFrom('certificates')
    .select(['id', 'fingerprint'])
    .where('organization_id', '=', by.organizationId)
    .execute();
  const same = known.find(({ fingerprint }) => fingerprint === read.fingerprint);
  if (same !== undefined) {
    throw invalidParameter('certificate', `This certificate was uploaded before: it is '${same.id}'.`);
  }
  if (known.length >= CERTIFICATES_MAX) {
    throw new ApiError(400, `An organization has at most ${CERTIFICATES_MAX} certificates.`);
  }
  const certificate: Certificate = {
    id: newId('cert_'),
    organization_id: by.organizationId,
    name,
    content: read.content,
    fingerprint: read.fingerprint,
    valid_at: read.validAt,
    expires_at: read.expiresAt,
    created_at: by.at,
  };
  await tx.insertInto('certificates').values(certificate).execute();
  await append(tx, {
    by,
    projectId: null,
    type: 'certificate.created',
    payload: { id: certificate.id, name, data: { fingerprint: read.fingerprint } },
  });
  return certificate;
}

export async function renameCertificate(
  tx: Tx,
  by: Attribution,
  id: string,
  name: string | undefined,
): Promise<Certificate> {
  const certificate = await getCertificate(tx, by.organizationId, id);
  if (name === undefined) return certificate;
  await tx
    .updateTable('certificates')
    .set({ name })
    .where('organization_id', '=', by.organizationId)
    .where('id', '=', id)
    .execute();
  await append(tx, { by, projectId: null, type: 'certificate.updated', payload: { id, name } });
  return { ...certificate, name };
}

export async function deleteCertificate(tx: Tx, by: Attribution, id: string): Promise<void> {
  const certificate = await getCertificate(tx, by.organizationId, id);
  const active = await tx
    .selectFrom('active_certificates')
    .select('project_id')
    .where('certificate_id', '=', id)
    .executeTakeFirst();
  if (active !== undefined) {
    const where = active.project_id === '' ? 'the organization' : `the project ${active.project_id}`;
    throw new ApiError(400, `The certificate is active in ${where}: deactivate it everywhere first.`, {
      code: 'certificate_active',
      param: 'certificate_id',
    });
  }
  await tx
    .deleteFrom('certificates')
    .where('organization_id', '=', by.organizationId)
    .where('id', '=', id)
    .execute();
  await append(tx, {
    by,
    projectId: null,
    type: 'certificate.deleted',
    payload: { id, name: certificate.name, certificate: certificate.content },
  });
}

/** All of them or none; what is so already stays so. Returns them as they are now, in the order that was asked. */
export async function toggleCertificates(
  store: Store,
  tx: Tx,
  by: Attribution,
  projectId: ProjectId | null,
  ids: readonly string[],
  active: boolean,
): Promise<ListedCertificate[]> {
  if (projectId !== null) await getActiveProject(tx, by.organizationId, projectId);
  const scope = { organizationId: by.organizationId, projectId };
  const found = await listed(tx, scope).where('certificates.id', 'in', ids).execute();
  const missing = ids.find((id) => !found.some((certificate) => certificate.id === id));
  if (missing !== undefined) throw noCertificate(missing);
  const changing = found.filter((certificate) => (certificate.active_id !== null) !== active);
  if (changing.length > 0) {
    const changed = changing.map(({ id }) => id);
    if (active) {
      const rows = changed.map((id) => ({
        organization_id: by.organizationId,
        certificate_id: id,
        project_id: projectId ?? '',
      }));
      await tx.insertInto('active_certificates').values(rows).execute();
    } else {
      await tx
        .deleteFrom('active_certificates')
        .where('organization_id', '=', by.organizationId)
        .where('project_id', '=', projectId ?? '')
        .where('certificate_id', 'in', changed)
        .execute();
    }
    const [first = by.organizationId] = changed;
    await append(tx, {
      by,
      projectId,
      type: active ? 'certificates.activated' : 'certificates.deactivated',
      payload: { id: first, certificates: changing.map(({ id, name }) => ({ id, name })) },
    });
    if (projectId === null) await store.announce(tx, 'organization', by.organizationId, by.at);
    else await store.announce(tx, 'project', projectId, by.at);
  }
  return ids.flatMap((id) => {
    const row = found.find((certificate) => certificate.id === id);
    if (row === undefined) return [];
    const { active_id: _, ...certificate } = row;
    return [{ ...certificate, active }];
  });
}

export type ActiveCertificates = ReadonlyMap<
  string,
  readonly { readonly id: string; readonly content: string }[]
>;

/** What is active, by the id of the organization or project that it is active in: for the states of the road. */
export async function activeCertificates(
  db: Db,
  of: { readonly organizations: readonly string[] } | { readonly projects: readonly string[] },
): Promise<ActiveCertificates> {
  let query = db
    .selectFrom('active_certificates')
    .innerJoin('certificates', 'certificates.id', 'active_certificates.certificate_id')
    .select([
      'certificates.id',
      'certificates.content',
      'active_certificates.organization_id',
      'active_certificates.project_id',
    ])
    .orderBy('certificates.id');
  query =
    'projects' in of
      ? query.where('active_certificates.project_id', 'in', of.projects)
      : query
          .where('active_certificates.organization_id', 'in', of.organizations)
          .where('active_certificates.project_id', '=', '');
  const found = new Map<string, { id: string; content: string }[]>();
  for (const { id, content, organization_id, project_id } of await query.execute()) {
    const owner = 'projects' in of ? project_id : organization_id;
    const certificates = found.get(owner) ?? [];
    certificates.push({ id, content });
    found.set(owner, certificates);
  }
  return found;
}
