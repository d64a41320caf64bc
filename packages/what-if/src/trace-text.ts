import { csvField, fieldsOf } from './csv.ts';
import { malformed, parseRecord, type TraceInput, type TraceRecord } from './trace-record.ts';

/** Columns of a trace in CSV, in the order in which they are written. In another order, or left out, they are read too. */
export const csvColumns = [
  'kind',
  'timeMs',
  'name',
  'workload',
  'cpuMillis',
  'memoryBytes',
  'diskBytes',
  'pids',
  'priority',
  'durationMs',
  'owner',
  'user',
  'runtime',
  'tags',
  'attributes',
] as const;
type Column = (typeof csvColumns)[number];

/**
 * Reads a trace, JSON lines or CSV with a header; which of them, the first line tells.
 * @throws CloudosError TRACE_MALFORMED with the number of the line
 */
export async function* readTrace(lines: AsyncIterable<string>, source: string): AsyncGenerator<TraceRecord> {
  let number = 0;
  let columns: readonly string[] | undefined;
  for await (const line of lines) {
    number++;
    if (line.trim() === '') continue;
    const where = `${source}, line ${number}`;
    if (columns === undefined && line.trimStart().startsWith('{')) columns = [];
    else if (columns === undefined) {
      columns = headerOf(line, where);
      continue;
    }
    yield columns.length === 0
      ? parseRecord(jsonOf(line, where), where)
      : parseRecord(rowOf(line, columns, where), where);
  }
}

function jsonOf(line: string, where: string): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    throw malformed(`${where}: not JSON: ${(error as Error).message}`);
  }
}

function headerOf(line: string, where: string): readonly string[] {
  const columns = fieldsOf(line)?.map((field) => field.trim()) ?? [];
  const unknown = columns.find((column) => !(csvColumns as readonly string[]).includes(column));
  if (unknown !== undefined || !columns.includes('kind') || !columns.includes('timeMs')) {
    throw malformed(
      `${where}: expected JSON, or a header of CSV with some of ${csvColumns.join(', ')}; given ${line.slice(0, 80)}`,
    );
  }
  return columns;
}

function rowOf(line: string, columns: readonly string[], where: string): TraceInput {
  const fields = fieldsOf(line);
  if (fields?.length !== columns.length) {
    throw malformed(
      `${where}: ${fields ? `${fields.length} fields` : 'a quote that is not closed'}, expected ${columns.length} fields`,
    );
  }
  const cells = new Map(columns.map((column, at) => [column, fields[at]!]));
  const text = (column: Column) => {
    const value = cells.get(column);
    return value === undefined || value === '' ? undefined : value;
  };
  const number = (column: Column) => {
    const value = text(column);
    return value === undefined ? undefined : Number(value);
  };
  const pairs = (column: Column) =>
    text(column)
      ?.split(';')
      .map((pair) => pair.trim());
  const common = { kind: text('kind'), timeMs: number('timeMs') };
  const amounts = {
    ...defined({ cpuMillis: number('cpuMillis'), memoryBytes: number('memoryBytes') }),
    ...defined({ diskBytes: number('diskBytes'), pids: number('pids') }),
  };
  if (common.kind === 'node') {
    const attributes = Object.fromEntries(
      (pairs('attributes') ?? []).map((pair) => [pair.split('=')[0]!, pair.slice(pair.indexOf('=') + 1)]),
    );
    const runtime = text('runtime');
    return {
      ...common,
      node: text('name'),
      capacity: amounts,
      attributes,
      ...(runtime && { runtimes: [runtime] }),
    } as TraceInput;
  }
  if (common.kind === 'node-gone') return { ...common, node: text('name') } as TraceInput;
  if (common.kind === 'end') return { ...common, instance: text('name') } as TraceInput;
  const said = { owner: text('owner'), user: text('user'), runtime: text('runtime'), tags: pairs('tags') };
  const numbers = { priority: number('priority'), durationMs: number('durationMs') };
  const of = { instance: text('name'), workload: text('workload'), requests: amounts };
  return { ...common, ...of, ...defined(numbers), ...defined(said) } as TraceInput;
}

function defined<T extends Record<string, unknown>>(fields: T): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>;
}

export const csvHeader = csvColumns.join(',');

/** A record as a line of CSV. What CSV has no column for (constraints, rules, facts) cannot be written. */
export function csvLine(record: TraceRecord): string {
  const cells: Partial<Record<Column, string | number | undefined>> = { kind: record.kind, timeMs: record.timeMs };
  if (record.kind === 'fact') throw malformed('a fact has no columns in CSV; write JSON lines');
  if (record.kind === 'node') {
    Object.assign(cells, { name: record.node, ...record.capacity, custom: undefined, runtime: record.runtimes[0] });
    cells.attributes = Object.entries(record.attributes)
      .map(([key, value]) => `${key}=${value}`)
      .join(';');
  } else if (record.kind === 'instance') {
    if (record.constraints || record.placement || record.hostPorts || record.node !== undefined) {
      throw malformed(`${record.instance}: constraints, rules and ports have no columns in CSV; write JSON lines`);
    }
    const { instance, workload, requests, priority, durationMs, owner, user, runtime, tags } = record;
    Object.assign(cells, { name: instance, workload, ...requests, priority, durationMs, owner, user, runtime });
    cells.tags = tags?.join(';');
  } else {
    cells.name = record.kind === 'end' ? record.instance : record.node;
  }
  return csvColumns.map((column) => csvField(String(cells[column] ?? ''))).join(',');
}
