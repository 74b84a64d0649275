// The permissions that there are, by their published names, and what the predefined roles grant: the names that a key's
// `scopes` and a role's `permissions` are made of (docs/guides/rbac; names from the published description, the SDK and
// the platform's error messages; those that are ours are marked).
//
// A permission is `api.<area>.<action>`. `write` includes `read`; `api.all.read` is every `read`; `api.model.request`
// is every `api.model.<kind>.request`. Nothing else includes anything.

/** Areas with what can be done in them. `organization`: of the organization only; `project`: within a project too. */
const AREAS = {
  organization: {
    /** Users, projects, invites, admin keys, limits: the organization's administration. */
    'api.management': ['read', 'write'],
    'api.usage': ['read'],
    'api.audit_logs': ['read'],
    'api.external_keys': ['read', 'write'],
    'api.external_storage': ['read', 'write'],
    'api.ip_allowlist': ['read', 'write'],
    'api.mtls': ['read', 'write'],
    'api.oidc': ['read', 'write'],
  },
  project: {
    'api.groups': ['read', 'write'],
    'api.roles': ['read', 'write'],
    /** A project's own administration: its users, limits, settings. */
    'api.organization.projects': ['read', 'write'],
    'api.organization.projects.api_keys': ['read', 'write'],
    'api.organization.projects.service_accounts': ['read', 'write'],
    /** `request`: chat, completions, and each kind below. */
    'api.model': ['read', 'request'],
    'api.model.embeddings': ['request'],
    'api.model.images': ['request'],
    'api.model.audio': ['request'],
    'api.model.moderations': ['request'],
    'api.model.realtime': ['request'],
    'api.responses': ['read', 'write'],
    'api.files': ['read', 'write'],
    'api.vector_stores': ['read', 'write'],
    'api.batch': ['read', 'write'],
    'api.assistants': ['read', 'write'],
    'api.threads': ['read', 'write'],
    'api.evals': ['read', 'write'],
    'api.fine_tuning.jobs': ['read', 'write'],
    'api.prompts': ['read', 'write'],
    'api.datasets': ['read', 'write'],
    'api.webhooks': ['read', 'write'],
    'api.videos': ['read', 'write'],
    'api.voices': ['read', 'write'],
    'api.agents': ['read', 'write'],
    'api.containers': ['read', 'write'],
    'api.skills': ['read', 'write'],
    /** keygate's own: data sources that agents reach through this server. */
    'api.sources': ['read', 'write'],
  },
} as const;

type Areas = (typeof AREAS)['organization'] & (typeof AREAS)['project'];
type Area = keyof Areas;
type PermissionOf<A extends Area> = `${A}.${Areas[A][number]}`;
/** One thing that can be allowed. */
export type Permission = { [A in Area]: PermissionOf<A> }[Area];
export type Rights = ReadonlySet<Permission>;
export type Level = keyof typeof AREAS;

/** What stands for many: only in a key's scopes and a role's permissions, never what an operation needs. */
const READ_ALL = 'api.all.read';

const LEVELS = new Map<string, Level>();
for (const level of ['organization', 'project'] as const) {
  for (const [area, actions] of Object.entries(AREAS[level])) {
    for (const action of actions) LEVELS.set(`${area}.${action}`, level);
  }
}

/** Every permission, the organization's first. */
export const PERMISSIONS: readonly Permission[] = Object.freeze([...LEVELS.keys()].filter(isPermission));

export function isPermission(name: string): name is Permission {
  return LEVELS.has(name);
}

/** Whether this may stand in a key's scopes or a role's permissions. Aliases are taken as the platform has them. */
export function isGrantable(name: string): boolean {
  return name === READ_ALL || isPermission(canonical(name));
}

/** `project`: can be granted within a project; `organization`: only in the organization. */
export function levelOf(name: string): Level {
  return LEVELS.get(canonical(name)) ?? 'project';
}

/** Error messages and older keys name some scopes otherwise. */
const ALIASES: Readonly<Record<string, string>> = {
  'model.read': 'api.model.read',
  'model.request': 'api.model.request',
  'api.vector_store.read': 'api.vector_stores.read',
  'api.vector_store.write': 'api.vector_stores.write',
  'api.fine_tuning.read': 'api.fine_tuning.jobs.read',
  'api.fine_tuning.write': 'api.fine_tuning.jobs.write',
};

export function canonical(name: string): string {
  return ALIASES[name] ?? name;
}

/** Whether `granted` gives `needed`. */
export function covers(granted: string, needed: Permission): boolean {
  const name = canonical(granted);
  if (name === needed) return true;
  if (needed.endsWith('.read')) return name === READ_ALL || name === needed.replace(/read$/, 'write');
  return name === 'api.model.request' && /^api\.model\.[a-z_]+\.request$/.test(needed);
}

/** All that these names give. An empty list gives nothing. */
export function rightsOf(names: readonly string[]): Rights {
  return new Set(PERMISSIONS.filter((needed) => names.some((name) => covers(name, needed))));
}

export const ALL_RIGHTS: Rights = new Set(PERMISSIONS);
export const NO_RIGHTS: Rights = new Set();

/** What a key's scopes give: an empty list is the platform's "All". */
export function scopeRights(scopes: readonly string[]): Rights {
  return scopes.length === 0 ? ALL_RIGHTS : rightsOf(scopes);
}

const USE_READ: readonly Permission[] = [
  'api.model.read',
  'api.files.read',
  'api.batch.read',
  'api.assistants.read',
  'api.threads.read',
  'api.evals.read',
  'api.fine_tuning.jobs.read',
  'api.prompts.read',
  'api.datasets.read',
  'api.webhooks.read',
  'api.voices.read',
  'api.agents.read',
  'api.organization.projects.api_keys.read',
  'api.groups.read',
  'api.roles.read',
  'api.sources.read',
];

const USE_WRITE: readonly Permission[] = [
  'api.model.read',
  'api.model.request',
  'api.responses.write',
  'api.files.write',
  'api.vector_stores.write',
  'api.batch.write',
  'api.assistants.write',
  'api.threads.write',
  'api.evals.write',
  'api.fine_tuning.jobs.write',
  'api.prompts.write',
  'api.datasets.write',
  'api.webhooks.write',
  'api.videos.write',
  'api.voices.write',
  'api.agents.write',
  'api.containers.write',
  'api.skills.write',
  'api.sources.write',
  'api.organization.projects.api_keys.write',
  'api.groups.read',
  'api.roles.read',
];

export interface PredefinedRole {
  readonly id: string;
  readonly name: 'owner' | 'reader' | 'member' | 'viewer';
  readonly level: Level;
  readonly description: string;
  readonly permissions: readonly Permission[];
}

/**
 * The roles that are always there. A project's member only reads its groups and roles, where the platform's table lets
 * it write them: whoever may write roles could give itself any.
 */
export const PREDEFINED_ROLES = {
  organizationOwner: {
    id: 'role-api-organization-owner',
    name: 'owner',
    level: 'organization',
    description: 'Everything, in the organization and in each of its projects.',
    permissions: PERMISSIONS,
  },
  organizationReader: {
    id: 'role-api-organization-reader',
    name: 'reader',
    level: 'organization',
    description:
      'Belongs to the organization, and reads its groups and roles; works in the projects it is added to.',
    permissions: ['api.model.read', 'api.groups.read', 'api.roles.read'],
  },
  projectOwner: {
    id: 'role-api-project-owner',
    name: 'owner',
    level: 'project',
    description: 'Everything in the project, with its users, service accounts, keys and limits.',
    permissions: PERMISSIONS.filter((name) => levelOf(name) === 'project'),
  },
  projectMember: {
    id: 'role-api-project-member',
    name: 'member',
    level: 'project',
    description: 'Uses the project: calls models, keeps files and batches, makes keys for itself.',
    permissions: USE_WRITE,
  },
  projectViewer: {
    id: 'role-api-project-viewer',
    name: 'viewer',
    level: 'project',
    description: 'Looks at the project and changes nothing; calls no model.',
    permissions: USE_READ,
  },
} as const satisfies Record<string, PredefinedRole>;
