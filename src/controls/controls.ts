// What the road holds a project's calls to, made of the project's settings and its organization's whenever one of them
// changes. A project for which nothing is set has no controls at all (null), so a call of it costs one comparison.

import { addressRanges } from '../keys/addresses.ts';
import type { AddressRanges } from '../keys/model.ts';
import type { HostedTool, OrganizationSettings, ProjectSettings } from './settings.ts';

export interface ModelRule {
  readonly mode: 'allow_list' | 'deny_list';
  /** In lower case where they are denied: a provider may take a name in any case. */
  readonly models: ReadonlySet<string>;
}

export interface TierRule {
  /** What is sent for a call that names no tier, or `auto`. */
  readonly default: 'default' | 'priority' | 'scale';
  /** Values of `service_tier` that a call may name; null: every one. */
  readonly enabled: ReadonlySet<string> | null;
}

export interface Retention {
  /** No content of a call may be kept: not here, and at a provider not beyond the call. */
  readonly zero: boolean;
  /** What would keep content at a provider is refused, where it would otherwise be turned off in passing. */
  readonly strict: boolean;
  /** Prompts and replies may be logged, if the administrator has turned that on. */
  readonly loggable: boolean;
  /** End users' names are replaced by a keyed digest before anything keeps or compares them. */
  readonly pseudonyms: boolean;
}

export interface Controls {
  readonly models: ModelRule | null;
  readonly forbiddenTools: ReadonlySet<HostedTool> | null;
  readonly tiers: TierRule | null;
  readonly retention: Retention | null;
  /** The project's active lists. The organization's are its own, as they hold for admin keys too. */
  readonly addresses: AddressRanges | null;
}

export function controlsOf(
  project: ProjectSettings | null,
  organization: OrganizationSettings | null,
): Controls | null {
  if (project === null && organization === null) return null;
  const controls: Controls = {
    models: project?.model_permissions === undefined ? null : modelRule(project.model_permissions),
    forbiddenTools:
      project?.forbidden_tools === undefined || project.forbidden_tools.length === 0
        ? null
        : new Set(project.forbidden_tools),
    tiers: project?.service_tiers === undefined ? null : tierRule(project.service_tiers),
    retention: retentionOf(project, organization),
    addresses: activeRanges(project?.ip_allowlists),
  };
  return Object.values(controls).every((control) => control === null) ? null : Object.freeze(controls);
}

function modelRule({ mode, model_ids }: NonNullable<ProjectSettings['model_permissions']>): ModelRule {
  const names = mode === 'deny_list' ? model_ids.map((id) => id.toLowerCase()) : model_ids;
  return { mode, models: new Set(names) };
}

const TIERS = { standard: 'default', fast: 'priority', scale: 'scale' } as const;

function tierRule(tiers: NonNullable<ProjectSettings['service_tiers']>): TierRule {
  const tier = TIERS[tiers.default];
  if (tiers.enabled_tiers === 'all') return { default: tier, enabled: null };
  const enabled = new Set<string>(['default', ...tiers.enabled_tiers]);
  // Two names of one tier.
  if (enabled.has('fast')) enabled.add('priority');
  enabled.add(tier);
  return { default: tier, enabled };
}

/** The project's own retention, or its organization's; null where nothing is asked for. */
export function retentionOf(
  project: ProjectSettings | null,
  organization: OrganizationSettings | null,
): Retention | null {
  const own = project?.data_retention ?? 'organization_default';
  const type = own === 'organization_default' ? (organization?.data_retention ?? 'none') : own;
  switch (type) {
    case 'none':
      return null;
    case 'modified_abuse_monitoring':
      return { zero: false, strict: false, loggable: false, pseudonyms: false };
    case 'enhanced_modified_abuse_monitoring':
      return { zero: false, strict: false, loggable: false, pseudonyms: true };
    case 'zero_data_retention':
      return { zero: true, strict: false, loggable: false, pseudonyms: true };
    case 'enhanced_zero_data_retention':
      return { zero: true, strict: true, loggable: false, pseudonyms: true };
  }
}

/** The ranges of the lists that are active; null where none is. */
export function activeRanges(lists: ProjectSettings['ip_allowlists']): AddressRanges | null {
  const active = (lists ?? []).filter((list) => list.active);
  return active.length === 0 ? null : addressRanges(active.flatMap((list) => list.allowed_ips));
}
