// The tables of settings: one row a setting that somebody set. src/controls/settings.ts says what values there are.

export interface ControlsTables {
  project_settings: ProjectSettingTable;
  organization_settings: OrganizationSettingTable;
}

export interface ProjectSettingTable {
  organization_id: string;
  project_id: string;
  name: string;
  /** JSON, in the form that the setting's name has. */
  value: string;
  updated_at: number;
}

export interface OrganizationSettingTable {
  organization_id: string;
  name: string;
  /** JSON, in the form that the setting's name has. */
  value: string;
  updated_at: number;
}
