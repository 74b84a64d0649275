// The state of every organization and project, one object each, shared by all their keys: what the registry reads
// again when it changes, and what the road asks by reading a property.
//
// To hold calls to something new: a field in `ProjectState` (model.ts), set in `#make` as it is before anything was
// read, and in `keepProjects` as it was read.

import { activeRanges, controlsOf } from '../controls/controls.ts';
import { readOrganizationSettings } from '../controls/settings.ts';
import { settingsOfOrganizations } from '../controls/store.ts';
import { type ActiveCertificates, activeCertificates } from '../identity/certificates/store.ts';
import { trustOf } from '../identity/certificates/trust.ts';
import type { OrganizationId, ProjectId } from '../platform/ids.ts';
import type { Db } from '../store/store.ts';
import type { KeyState, OrganizationState, ProjectState } from './model.ts';
import { projectStates, type StoredProject } from './store.ts';

/** The state of a project's external key, by the key that it has now. */
export type ExternalKeyState = (project: ProjectState, externalKeyId: string | null) => KeyState | null;

export class States {
  readonly #organizations = new Map<
    string,
    { readonly state: OrganizationState; readonly projects: Set<ProjectState> }
  >();
  readonly #unread = new Set<string>();
  readonly #projects = new Map<string, ProjectState>();

  readonly #externalKey: ExternalKeyState;

  constructor(externalKey: ExternalKeyState) {
    this.#externalKey = externalKey;
  }

  /** The project of this id, if it was named before. */
  known(projectId: string): ProjectState | undefined {
    return this.#projects.get(projectId);
  }

  organization(id: string): OrganizationState {
    return this.#organization(id).state;
  }

  /** The one object that all keys of a project share. Until it was read, its keys do not work. */
  project(id: string, organizationId: string): ProjectState {
    let project = this.#projects.get(id);
    if (project === undefined) {
      project = this.#make(id, organizationId);
      this.#projects.set(id, project);
    }
    return project;
  }

  #make(id: string, organizationId: string): ProjectState {
    const { state, projects } = this.#organization(organizationId);
    const project: ProjectState = {
      // What the store holds as an id was made by newId: here it gets its brand back.
      id: id as ProjectId,
      organizationId: state.id,
      organization: state,
      active: false,
      environment: 'development',
      settings: null,
      controls: null,
      credentials: null,
      trust: null,
      externalKey: null,
    };
    projects.add(project);
    return project;
  }

  #organization(id: string) {
    let known = this.#organizations.get(id);
    if (known === undefined) {
      known = {
        state: { id: id as OrganizationId, settings: null, addresses: null, trust: null },
        projects: new Set(),
      };
      this.#organizations.set(id, known);
      this.#unread.add(id);
    }
    return known;
  }

  /** Reads these projects again, or all of them, as they are now. */
  async readProjects(db: Db, ids?: readonly string[]): Promise<void> {
    for await (const projects of projectStates(db, ids)) {
      for (const { id, organizationId } of projects) this.project(id, organizationId);
      // A project must not work by its own settings alone before its organization's are known.
      await this.readUnread(db);
      const active = await activeCertificates(db, { projects: projects.map(({ id }) => id) });
      this.#keepProjects(projects, active);
    }
  }

  /** Reads the organizations that were named and not read yet. */
  async readUnread(db: Db): Promise<void> {
    if (this.#unread.size > 0) await this.readOrganizations(db, [...this.#unread]);
  }

  #keepProjects(read: readonly StoredProject[], certificates: ActiveCertificates): void {
    for (const { id, organizationId, active, environment, settings, externalKeyId } of read) {
      const project = this.project(id, organizationId);
      project.externalKey = this.#externalKey(project, externalKeyId);
      project.environment = environment;
      project.settings = settings;
      project.controls = controlsOf(settings, project.organization.settings);
      project.trust = trustOf(certificates.get(id), project.trust);
      project.active = active;
    }
  }

  /** Reads these organizations again as they are now; what their projects are held to changes with them. */
  async readOrganizations(db: Db, ids: readonly string[]): Promise<void> {
    const read = await settingsOfOrganizations(db, ids);
    const certificates = await activeCertificates(db, { organizations: ids });
    for (const id of ids) {
      const { state, projects } = this.#organization(id);
      state.settings = readOrganizationSettings(read.get(id) ?? []);
      state.addresses = activeRanges(state.settings?.ip_allowlists);
      state.trust = trustOf(certificates.get(id), state.trust);
      for (const project of projects) project.controls = controlsOf(project.settings, state.settings);
      this.#unread.delete(id);
    }
  }
}
