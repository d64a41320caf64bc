import type { Distribution } from './distribution.ts';
import type { Terminal } from './terminal.ts';

/** What every command works with. */
export interface CliContext {
  readonly terminal: Terminal;
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  readonly stdin: NodeJS.ReadStream;
  /** Whose command this is; absent: that of cloudos itself. */
  readonly distribution?: Distribution;
  /** Options that stand before or after any command. */
  globals(): GlobalOptions;
  /** What the process ends with, where no error says so: the exit code of a command in a guest, damage that was found. */
  setExitCode(code: number): void;
  /** Runs instead of ending the process when it is asked to end (SIGINT, SIGTERM, SIGHUP), until it is undone. */
  onInterrupt(handler: (signal: NodeJS.Signals) => void): () => void;
}

export interface GlobalOptions {
  readonly stateDir?: string;
  readonly url?: string;
  readonly token?: string;
  readonly fingerprint?: string;
  readonly caFile?: string;
}
