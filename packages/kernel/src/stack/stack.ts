import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { CloudosError, describeIssues, messageOf } from '@cloudos/sdk';
import { isMap, LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';

/** A plugin as a stack file names it: by reference alone, or with its configuration. */
const pluginEntry = z.union([
  z
    .string()
    .min(1)
    .transform((plugin) => ({ plugin, config: undefined as unknown })),
  z.strictObject({ plugin: z.string().min(1), config: z.unknown().optional() }),
]);

const nodeEntry = z.strictObject({
  /** With `count`, names are `<name>-1` … `<name>-<count>`. */
  name: z.string().regex(/^[a-z0-9]([a-z0-9-.]{0,61}[a-z0-9])?$/, 'a name of lower-case letters, digits, "-" and "."'),
  count: z.int().min(1).max(100_000).optional(),
  host: pluginEntry,
  guests: z.array(pluginEntry).min(1),
});

const atLeastOne = z.int().min(1).max(1_000_000_000).optional();

/** Numbers that are open at once, and rates on average, of one token (all its clients together) or one address. */
const gatewayLimits = z.strictObject({
  connectionsPerToken: atLeastOne,
  connectionsPerAddress: atLeastOne,
  subscriptionsPerToken: atLeastOne,
  namedSubscriptionsPerToken: atLeastOne,
  requestsPerSecondPerToken: atLeastOne,
  requestsPerSecondPerAddress: atLeastOne,
  refusalsPerMinutePerAddress: atLeastOne,
  messagesPerSecondPerToken: atLeastOne,
  messagesPerSecondPerAddress: atLeastOne,
});

const stackSchema = z.strictObject({
  apiVersion: z.literal('cloudos/v1'),
  kind: z.literal('Stack'),
  name: z.string().min(1),
  log: pluginEntry,
  resources: pluginEntry,
  orchestrator: pluginEntry,
  ingress: pluginEntry.optional(),
  /** Further native APIs over the same events. */
  apis: z.array(pluginEntry).max(64).optional(),
  nodes: z.array(nodeEntry).min(1),
  gateway: z
    .strictObject({
      host: z.string().default('127.0.0.1'),
      /** 0: any free port. */
      port: z.int().min(0).max(65_535).default(0),
      /** Origins of browser pages that may use the gateway. */
      origins: z.array(z.string()).default([]),
      /** true: with a generated certificate. Absent: so unless `host` is loopback. false: plain, wherever it listens. */
      tls: z.union([z.boolean(), z.strictObject({ certificate: z.string(), key: z.string() })]).optional(),
      /** What one token and one address may use; what is absent is as it is by default. */
      limits: gatewayLimits.default({}),
      /** An event subscriber that takes nothing for that long, while something waits for it, is closed. Absent or 0: never. */
      slowSubscriberMs: z.int().min(0).max(86_400_000).optional(),
    })
    .default({ host: '127.0.0.1', port: 0, origins: [], limits: {} }),
});

export type PluginEntry = z.output<typeof pluginEntry>;

export interface StackNode {
  readonly name: string;
  /** From 0, over all nodes of the stack. */
  readonly ordinal: number;
  readonly host: PluginEntry;
  readonly guests: readonly PluginEntry[];
}

/** A stack file, read and checked. */
export interface Stack extends Omit<z.output<typeof stackSchema>, 'nodes'> {
  readonly nodes: readonly StackNode[];
  /** Identifies the content of the file. */
  readonly digest: string;
  /** Where references by path and by name start from. */
  readonly dir: string;
}

/** Slots that hold one plugin. */
const single = ['log', 'resources', 'orchestrator', 'ingress'] as const;

/** @throws CloudosError STACK_NOT_FOUND, STACK_MALFORMED (with every fault found), SLOT_CONFLICT */
export async function readStack(file: string): Promise<Stack> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new CloudosError('STACK_NOT_FOUND', `stack file ${file} cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
  return parseStack(text, file);
}

/** Parses the text of a stack file. `file` is for messages, and its folder is where references start from. */
export function parseStack(text: string, file: string): Stack {
  refuseConflicts(parseDocument(text, { uniqueKeys: false }), file);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const [fault] = document.errors;
  if (fault) {
    const { line, col } = lines.linePos(fault.pos[0]);
    throw new CloudosError('STACK_MALFORMED', `${file}:${line}:${col}: ${fault.message.split('\n')[0]}`);
  }
  const given: unknown = document.toJS();
  const parsed = stackSchema.safeParse(given);
  if (!parsed.success) throw new CloudosError('STACK_MALFORMED', `${file}: ${describeIssues(parsed.error, given)}`);
  const digest = createHash('sha256').update(JSON.stringify(parsed.data)).digest('hex').slice(0, 16);
  return { ...parsed.data, nodes: expand(parsed.data.nodes, file), digest, dir: path.dirname(path.resolve(file)) };
}

/** Two plugins for a slot that holds one: the key twice, or a list. */
function refuseConflicts(document: ReturnType<typeof parseDocument>, file: string): void {
  const { contents } = document;
  if (!isMap(contents)) return;
  for (const slot of single) {
    const given = contents.items
      .filter(({ key }) => String(key) === slot)
      .flatMap(({ value }) => {
        const plain: unknown = (value as { toJS?: (document: unknown) => unknown } | null)?.toJS?.(document);
        return Array.isArray(plain) ? plain : [plain];
      })
      .map((entry) => (typeof entry === 'string' ? entry : String((entry as { plugin?: unknown } | null)?.plugin)));
    if (given.length < 2) continue;
    throw new CloudosError('SLOT_CONFLICT', `${file}: slot ${slot} holds one plugin, given ${given.join(' and ')}`);
  }
}

function expand(nodes: z.output<typeof nodeEntry>[], file: string): StackNode[] {
  const expanded: StackNode[] = [];
  const names = new Set<string>();
  for (const { name, count, host, guests } of nodes) {
    for (let number = 1; number <= (count ?? 1); number++) {
      const each = count === undefined ? name : `${name}-${number}`;
      if (names.has(each)) throw new CloudosError('STACK_MALFORMED', `${file}: two nodes are named ${each}`);
      names.add(each);
      expanded.push({ name: each, ordinal: expanded.length, host, guests });
    }
  }
  return expanded;
}
