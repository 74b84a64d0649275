// Which hosted tools a request body asks for: tools that run at the provider, by the platform's five names. They are
// named in `tools`, in what an input item adds to them, in `tool_choice`, and by members of their own, which providers
// call differently. Some models search with every answer: those are held by their names.

import { HOSTED_TOOLS, type HostedTool } from '../controls/settings.ts';

type Json = Readonly<Record<string, unknown>>;

/** Tools that run with the caller, or only tell the model about those that do. */
const CALLERS_OWN: ReadonlySet<string> = new Set([
  'function',
  'custom',
  'namespace',
  'tool_search',
  'apply_patch',
  'local_shell',
  'computer',
  'computer_use',
  'computer_use_preview',
  'programmatic_tool_calling',
]);

/** Members that turn a search on: OpenAI's, xAI's, OpenRouter's, Qwen's, Groq's. */
const SEARCHES = [
  'web_search_options',
  'search_parameters',
  'plugins',
  'enable_search',
  'search_settings',
] as const;

/** Whether this model searches the web with every answer. */
export function alwaysSearches(model: string): boolean {
  return /-search-(?:preview|api)\b|^(?:[\w.-]+\/)?(?:sonar|compound)\b/i.test(model);
}

export interface ToolsAsked {
  readonly hosted: ReadonlySet<HostedTool>;
  /** The first type of tool that this server does not know, and so cannot say what it is. */
  readonly unknown: string | null;
  /** Models that a tool names for itself. */
  readonly models: readonly string[];
  /** Members of the body in which something was found. */
  readonly members: ReadonlySet<string>;
}

export function toolsAsked(body: Json): ToolsAsked {
  const found = new Found();
  found.tools('tools', body['tools']);
  for (const item of list(body['input'])) found.tools('input', record(item)?.['tools']);
  found.choice(body['tool_choice']);
  if (SEARCHES.some((member) => isGiven(body[member]))) found.hosted.add('web_search');
  const moderation = record(body['moderation']);
  if (typeof moderation?.['model'] === 'string') found.models.push(moderation['model']);
  return found;
}

class Found implements ToolsAsked {
  readonly hosted = new Set<HostedTool>();
  unknown: string | null = null;
  readonly models: string[] = [];
  readonly members = new Set<string>();

  tools(member: string, value: unknown): void {
    for (const entry of list(value)) {
      const tool = record(entry);
      const type = tool?.['type'];
      this.members.add(member);
      // The tools of an MCP server, listed in an input item, have no type: they are told, not asked for.
      if (tool === null || typeof type !== 'string') continue;
      const kind = kindOf(type, tool);
      if (kind === 'unknown') this.unknown ??= type;
      else if (kind !== 'own') this.hosted.add(kind);
      if (typeof tool['model'] === 'string') this.models.push(tool['model']);
      this.tools(member, tool['tools']);
    }
  }

  /** A choice is among `tools`; it is looked at so that no provider takes it for more than that. */
  choice(value: unknown): void {
    const choice = record(value);
    if (choice === null) return;
    for (const entry of [
      choice,
      ...list(choice['tools']),
      ...list(record(choice['allowed_tools'])?.['tools']),
    ]) {
      const tool = record(entry);
      const type = tool?.['type'];
      if (tool === null || typeof type !== 'string') continue;
      const kind = kindOf(type, tool);
      if (kind !== 'own' && kind !== 'unknown') this.hosted.add(kind);
    }
  }
}

function kindOf(type: string, tool: Json): HostedTool | 'own' | 'unknown' {
  if (CALLERS_OWN.has(type)) return 'own';
  // A shell runs with the caller, or in a container of the provider's like the code interpreter.
  if (type === 'shell') return runsInContainer(tool) ? 'code_interpreter' : 'own';
  // Newer versions of a tool have the old name and an ending: web_search_2025_08_26, web_search_preview.
  return HOSTED_TOOLS.find((name) => type === name || type.startsWith(`${name}_`)) ?? 'unknown';
}

function runsInContainer(tool: Json): boolean {
  const type = record(tool['environment'])?.['type'];
  return typeof type === 'string' && type !== 'local';
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null && value !== false;
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function record(value: unknown): Json | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : null;
}
