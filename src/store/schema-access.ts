// The tables of who may do what: roles, who has them, groups and who is in them, and invitations.

export interface AccessTables {
  roles: RoleTable;
  role_assignments: RoleAssignmentTable;
  groups: GroupTable;
  group_members: GroupMemberTable;
  invites: InviteTable;
}

/** A custom role. The predefined ones are in the program (src/access/permission-names.ts). */
export interface RoleTable {
  id: string;
  organization_id: string;
  /** Null: of the organization. */
  project_id: string | null;
  name: string;
  description: string | null;
  /** JSON list of permissions. */
  permissions: string;
  created_at: number;
  updated_at: number;
  /** The user whose key made it; null: the server. */
  created_by: string | null;
}

/** Who has which role, in the organization or in one project. Whoever has a role in a project has access to it. */
export interface RoleAssignmentTable {
  id: string;
  organization_id: string;
  /** Null: in the organization. */
  project_id: string | null;
  principal_type: 'user' | 'group';
  principal_id: string;
  /** A predefined role's id, or a custom one's. */
  role_id: string;
  created_at: number;
}

export interface GroupTable {
  id: string;
  organization_id: string;
  name: string;
  created_at: number;
}

export interface GroupMemberTable {
  organization_id: string;
  group_id: string;
  member_type: 'user' | 'service_account';
  member_id: string;
  created_at: number;
}

export interface InviteTable {
  id: string;
  organization_id: string;
  /** In lower case. */
  email: string;
  role: 'owner' | 'reader';
  /** JSON list of `{id, role}`: the projects that whoever accepts is added to. */
  projects: string;
  /** SHA-256 of the token that accepts it. */
  token_digest: Uint8Array;
  created_at: number;
  expires_at: number;
  accepted_at: number | null;
  accepted_by: string | null;
}
