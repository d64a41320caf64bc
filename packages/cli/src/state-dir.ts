import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { asCloudosError } from '@cloudos/sdk';
import type { CliContext } from './context.ts';
import { plainCommand } from './distribution.ts';

/**
 * Where a kernel keeps what it must not forget: --state-dir, $CLOUDOS_HOME, /var/lib/cloudos for root, else
 * $XDG_STATE_HOME/cloudos or ~/.local/state/cloudos. A distribution has its own name in place of `cloudos`.
 */
export function stateDirOf({
  globals,
  env,
  cwd,
  distribution,
}: Pick<CliContext, 'globals' | 'env' | 'cwd' | 'distribution'>): string {
  const name = distribution?.command ?? plainCommand;
  const given = globals().stateDir ?? nonEmpty(env.CLOUDOS_HOME);
  if (given !== undefined) return resolve(cwd, given);
  if (process.getuid?.() === 0) return `/var/lib/${name}`;
  const stateHome = nonEmpty(env.XDG_STATE_HOME) ?? join(nonEmpty(env.HOME) ?? homedir(), '.local', 'state');
  return join(stateHome, name);
}

/** @throws CloudosError PERMISSION_DENIED */
export async function makeStateDir(stateDir: string): Promise<void> {
  try {
    await mkdir(stateDir, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw asCloudosError(error, 'PERMISSION_DENIED', `the state directory ${stateDir} cannot be made`);
  }
}

const stackFileName = 'last-stack';

/** Remembers which stack file the kernel of the directory was started from, for when no kernel runs. */
export async function rememberStack(stateDir: string, stackFile: string): Promise<void> {
  await writeFile(join(stateDir, stackFileName), `${stackFile}\n`);
}

export async function rememberedStack(stateDir: string): Promise<string | undefined> {
  try {
    return (await readFile(join(stateDir, stackFileName), 'utf8')).trim();
  } catch {
    return undefined;
  }
}

export function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text === '' ? undefined : text;
}
