import { readFileSync } from 'node:fs';
import type { OutputChunk } from '@cloudos/sdk';
import type { CommandResult, HostCommands, HostProcess } from './host-commands.ts';

/** One command, as the driver gives it, and what SmartOS answers. */
export interface Exchange {
  readonly argv: readonly string[];
  /** JSON on standard input. Absent: nothing is written to it. */
  readonly stdin?: unknown;
  /** A list is JSON of what it holds; text is text. */
  readonly stdout?: unknown;
  readonly stderr?: string;
  readonly exitCode?: number;
  /** Whoever asked is gone before the answer comes. */
  readonly unanswered?: boolean;
}

/** A command that stays open: the test says what it prints, and when it ends. */
export class PlayedProcess implements HostProcess {
  readonly ended: Promise<number>;
  input = '';
  inputEnded = false;
  killed = false;
  #end: (code: number) => void = () => {};
  #listener: (chunk: OutputChunk) => void = () => {};

  constructor() {
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  onOutput(listener: (chunk: OutputChunk) => void): void {
    this.#listener = listener;
  }

  async write(data: Uint8Array): Promise<void> {
    this.input += Buffer.from(data).toString();
  }

  end(): void {
    this.inputEnded = true;
  }

  kill(): void {
    this.killed = true;
    this.#end(137);
  }

  print(text: string, stream: OutputChunk['stream'] = 'stdout'): void {
    this.#listener({ stream, data: Buffer.from(text) });
  }

  exit(code: number): void {
    this.#end(code);
  }
}

/**
 * Plays SmartOS: each command must be the next one that is expected, with its arguments and its input, and none may be
 * left. What it was not asked fails the call, and {@link done}, whatever the driver makes of the failure.
 */
export class ExchangePlayer implements HostCommands {
  readonly processes: PlayedProcess[] = [];
  readonly #expected: Exchange[] = [];
  readonly #surprises: string[] = [];

  expect(...exchanges: readonly Exchange[]): void {
    this.#expected.push(...exchanges);
  }

  async run(argv: readonly string[], input?: string): Promise<CommandResult> {
    const exchange = this.#next(argv, input);
    if (exchange.unanswered) return new Promise(() => {});
    const { stdout = '', stderr = '', exitCode = 0 } = exchange;
    return { exitCode, stdout: typeof stdout === 'string' ? stdout : `${JSON.stringify(stdout, null, 2)}\n`, stderr };
  }

  open(argv: readonly string[]): PlayedProcess {
    this.#next(argv, undefined);
    const process = new PlayedProcess();
    this.processes.push(process);
    return process;
  }

  /** Throws unless everything expected was asked, and nothing else. Begins anew. */
  done(): void {
    const left = this.#expected.splice(0).map(({ argv }) => `not asked: ${argv.join(' ')}`);
    const wrong = [...this.#surprises.splice(0), ...left];
    if (wrong.length > 0) throw new Error(wrong.join('\n'));
  }

  /** Everything that was expected so far has been asked. */
  get idle(): boolean {
    return this.#expected.length === 0;
  }

  #next(argv: readonly string[], input: string | undefined): Exchange {
    const next = this.#expected.shift();
    const asked = JSON.stringify({ argv, ...(input === undefined ? {} : { stdin: JSON.parse(input) }) });
    const expected =
      next && JSON.stringify({ argv: next.argv, ...(next.stdin === undefined ? {} : { stdin: next.stdin }) });
    if (next && sameJson(asked, expected ?? '')) return next;
    const message = `asked:    ${asked}\nexpected: ${expected ?? 'nothing'}`;
    this.#surprises.push(message);
    if (next) this.#expected.unshift(next);
    throw new Error(message);
  }
}

/** The order of the properties of an object does not count. */
function sameJson(one: string, other: string): boolean {
  const sorted = (text: string) =>
    JSON.stringify(JSON.parse(text), (_, value: unknown) =>
      value && typeof value === 'object' && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
        : value,
    );
  return sorted(one) === sorted(other);
}

function read(file: string): unknown {
  return JSON.parse(readFileSync(new URL(`exchanges/${file}`, import.meta.url), 'utf8'));
}

/** Exchanges about one zone, by their names. Written from the documentation of SmartOS, not recorded on a machine. */
export function lxZone(given: string): Record<string, Exchange> {
  const { exchanges } = read('lx-zone.json') as { exchanges: Record<string, Exchange> };
  return JSON.parse(JSON.stringify(exchanges).replaceAll('<given>', given)) as Record<string, Exchange>;
}

/** Lines of `vmadm events -jr`, by their names. Written from the documentation too. */
export function vmEvents(): Record<string, string> {
  const { events } = read('events.json') as { events: Record<string, unknown> };
  return Object.fromEntries(Object.entries(events).map(([name, event]) => [name, `${JSON.stringify(event)}\n`]));
}
