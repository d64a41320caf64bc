import type { GuestExit } from '@cloudos/sdk';

/** A line that a program prints. */
export interface PrintedLine {
  readonly stream: 'stdout' | 'stderr';
  readonly text: string;
  /** Without a line feed at its end. */
  readonly open?: true;
}

/** A line as it goes out. */
export function bytesOf({ text, open }: PrintedLine): Uint8Array {
  return Buffer.from(open ? text : `${text}\n`);
}

/** How a run ends by itself. */
export type ProgramEnd = Pick<GuestExit, 'exitCode' | 'signal' | 'reason'> & { readonly afterMs: number };

/** What a simulated guest does when it runs, or a command when it is executed in one. */
export interface Program {
  readonly prints: readonly PrintedLine[];
  /** Absent: it runs until it is stopped. */
  readonly end?: ProgramEnd;
  /** Does not end at the polite signal. */
  readonly stubborn: boolean;
  /** Never passes a probe. */
  readonly neverReady: boolean;
  /** Copies its standard input to its output (`cat`). */
  readonly copiesInput: boolean;
  /** Uses all the processor time that its limit leaves it. */
  readonly burnsCpu?: true;
  /** Processes that it has. Absent: one. */
  readonly processes?: number;
  /** Names the command that does not exist. */
  readonly missing?: string;
  /** The start itself fails, for that reason. */
  readonly failsToStart?: string;
  /** The first command that no convention covers. A guest takes it for a service that runs for ever. */
  readonly unknown?: string;
}

type Draft = { -readonly [Key in keyof Program]: Program[Key] } & { prints: PrintedLine[]; clockMs: number };

export interface ProgramEnvironment {
  readonly hostname: string;
  readonly variables: Readonly<Record<string, string>>;
  /** Default `/`. */
  readonly workingDir?: string | undefined;
  /** 0: none. */
  readonly limits?: { readonly memoryBytes: number; readonly pids: number };
}

/** Runs for ever and prints nothing: what every unknown command amounts to. */
export const endless: Program = Object.freeze({ prints: [], stubborn: false, neverReady: false, copiesInput: false });

const oomKilled = { exitCode: null, signal: 'SIGKILL', reason: 'oom-killed' } as const;

/**
 * Reads a command by convention. Times are in milliseconds except for `sleep`, which counts seconds as in POSIX.
 *
 * - nothing, `sleep`, `sleep infinity`, anything unknown: runs until it is stopped; `sleep <s>` ends with 0
 * - `exit <code> [afterMs]`, `true`, `false`: ends with that code
 * - `crash-after <ms> [code]`: ends with that code (default 1) after that time
 * - `signal <name> [afterMs]`: dies of that signal
 * - `oom [afterMs]`: is killed for using more memory than its limit
 * - `allocate <bytes>`: the same if that is more than its limit, otherwise prints `done` and runs on
 * - `processes <n>`: prints `<n> running`, with no more than its limit, and runs on
 * - `burn`: runs on and uses all the processor time it gets
 * - `stubborn`: ends only when it is killed
 * - `never-ready`: runs and passes no probe
 * - `fail-start [reason]`: cannot be started
 * - `echo <words>`, `print-error <words>`, `printf <format> <words>`, `printenv <name>`, `env`, `hostname`, `pwd`,
 *   `cat`: as in POSIX
 * - `no-such-command`, or any path below `/no/such`: does not exist
 * - `sh -c <script>`: these joined by `;`, `&&` or newlines, with `>&2` after `echo`, `trap '' TERM` for stubborn, and
 *   `<command> &` for one that does nothing, which `wait` waits for
 */
export function readProgram(words: readonly string[], environment: ProgramEnvironment): Program {
  if (words.length === 0) return endless;
  const draft: Draft = { prints: [], stubborn: false, neverReady: false, copiesInput: false, clockMs: 0 };
  run(words, draft, environment);
  const { clockMs, ...program } = draft;
  return program.end && clockMs > 0 ? { ...program, end: { ...program.end, afterMs: clockMs } } : program;
}

/** Runs one command. Returns whether a next one runs after it. */
function run(words: readonly string[], draft: Draft, environment: ProgramEnvironment): boolean {
  const [path = '', ...given] = words;
  const name = path.slice(path.lastIndexOf('/') + 1);
  const args = given.map((word) => expand(word, environment));
  if (name === 'no-such-command' || path.startsWith('/no/such')) {
    draft.missing = path;
    return false;
  }
  if ((name === 'sh' || name === 'bash') && given[0] === '-c') return runScript(given[1] ?? '', draft, environment);
  const behave = behaviours[name];
  if (behave) return behave(draft, args, environment);
  draft.unknown = path;
  return false;
}

const behaviours: Readonly<
  Record<string, (draft: Draft, args: readonly string[], environment: ProgramEnvironment) => boolean>
> = {
  echo: (draft, args) => print(draft, 'stdout', args.join(' ')),
  'print-error': (draft, args) => print(draft, 'stderr', args.join(' ')),
  hostname: (draft, _, { hostname }) => print(draft, 'stdout', hostname),
  pwd: (draft, _, { workingDir }) => print(draft, 'stdout', workingDir ?? '/'),
  printf(draft, [format = '', ...args]) {
    let used = 0;
    const text = format.replace(/%s/g, () => args[used++] ?? '').replace(/\\n/g, '\n');
    return text.endsWith('\n') ? print(draft, 'stdout', text.slice(0, -1)) : print(draft, 'stdout', text, true);
  },
  allocate(draft, [bytes], { limits }) {
    if (limits && limits.memoryBytes > 0 && amount(bytes) > limits.memoryBytes) return ends(draft, oomKilled, false);
    print(draft, 'stdout', 'done');
    return runsOn(draft);
  },
  processes(draft, [count], { limits }) {
    const most = limits && limits.pids > 0 ? limits.pids - 1 : Number.POSITIVE_INFINITY;
    const got = Math.min(amount(count), most);
    print(draft, 'stdout', `${got} running`);
    draft.processes = 1 + got;
    return runsOn(draft);
  },
  burn(draft) {
    draft.burnsCpu = true;
    return runsOn(draft);
  },
  env: (draft, _, { variables }) =>
    Object.entries(variables).every(([key, value]) => print(draft, 'stdout', `${key}=${value}`)),
  printenv: (draft, [key = ''], { variables }) => print(draft, 'stdout', variables[key] ?? ''),
  true: (draft) => ends(draft, { exitCode: 0, signal: null, reason: 'exited' }, true),
  false: (draft) => ends(draft, { exitCode: 1, signal: null, reason: 'exited' }, false),
  cat(draft) {
    draft.copiesInput = true;
    return ends(draft, { exitCode: 0, signal: null, reason: 'exited' }, true);
  },
  exit: (draft, [code, afterMs]) =>
    ends(draft, { exitCode: amount(code), signal: null, reason: 'exited' }, false, amount(afterMs)),
  'crash-after': (draft, [afterMs, code]) =>
    ends(draft, { exitCode: amount(code, 1), signal: null, reason: 'exited' }, false, amount(afterMs)),
  signal: (draft, [signal = 'SIGKILL', afterMs]) =>
    ends(draft, { exitCode: null, signal, reason: 'signalled' }, false, amount(afterMs)),
  oom: (draft, [afterMs]) => ends(draft, oomKilled, false, amount(afterMs)),
  sleep(draft, [seconds]) {
    const ms = Number.parseFloat(seconds ?? '') * 1_000;
    if (!Number.isFinite(ms)) return runsOn(draft);
    return ends(draft, { exitCode: 0, signal: null, reason: 'exited' }, true, ms);
  },
  trap(draft, args) {
    if (args.some((word) => /^(SIG)?TERM$/.test(word))) draft.stubborn = true;
    return true;
  },
  stubborn(draft) {
    draft.stubborn = true;
    return runsOn(draft);
  },
  'never-ready'(draft) {
    draft.neverReady = true;
    return runsOn(draft);
  },
  'fail-start'(draft, args) {
    draft.failsToStart = args.join(' ') || 'the program asked for it';
    return false;
  },
  while: runsOn,
  wait: runsOn,
};

function runScript(script: string, draft: Draft, environment: ProgramEnvironment): boolean {
  for (const statement of script.split(/;|&&|\n/)) {
    let words = (statement.match(/'[^']*'|"[^"]*"|\S+/g) ?? []).map((word) => word.replace(/^(['"])(.*)\1$/s, '$2'));
    if (words.length === 0) continue;
    if (words.at(-1) === '&') continue;
    if (words[0] === 'exec') words = words.slice(1);
    const toError = words.findIndex((word) => /^1?>&2$/.test(word));
    if (toError > 0 && words[0] === 'echo') {
      words = ['print-error', ...words.filter((_, at) => at !== toError).slice(1)];
    }
    delete draft.end;
    if (!run(words, draft, environment)) return false;
  }
  return draft.end ? true : ends(draft, { exitCode: 0, signal: null, reason: 'exited' }, true);
}

function print(draft: Draft, stream: PrintedLine['stream'], text: string, open?: true): boolean {
  draft.prints.push(open ? { stream, text, open } : { stream, text });
  return ends(draft, { exitCode: 0, signal: null, reason: 'exited' }, true);
}

function ends(draft: Draft, end: Omit<ProgramEnd, 'afterMs'>, goesOn: boolean, afterMs = 0): boolean {
  draft.clockMs += afterMs;
  draft.end = { ...end, afterMs };
  return goesOn;
}

function runsOn(draft: Draft): boolean {
  delete draft.end;
  return false;
}

function amount(text: string | undefined, otherwise = 0): number {
  const value = Number.parseInt(text ?? '', 10);
  return Number.isFinite(value) && value >= 0 ? value : otherwise;
}

function expand(word: string, { variables }: ProgramEnvironment): string {
  return word.replace(/\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?/g, (_, key: string) => variables[key] ?? '');
}
