import { CloudosError } from '@cloudos/sdk';
import type { Container } from 'dockerode';
import { unlessAbsent } from './engine.ts';

const pathDefault = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Checks that a program is in the image of a container that does not run yet. The init of the engine would start, find
 * out, and end with 127, as a program may that was found.
 * @param command absent: the image's own entry point, which is not checked
 * @throws CloudosError COMMAND_NOT_FOUND
 */
export async function checkCommand(
  container: Container,
  command: string | undefined,
  env: Readonly<Record<string, string>>,
): Promise<void> {
  if (command === undefined) return;
  const candidates = command.includes('/') ? [command] : await inSearchPath(container, command, env.PATH);
  const found = await Promise.all(candidates.map((path) => hasPath(container, path)));
  if (found.includes(true)) return;
  throw new CloudosError(
    'COMMAND_NOT_FOUND',
    `there is no ${command} in the image (looked at ${candidates.join(', ')})`,
  );
}

async function inSearchPath(container: Container, command: string, path: string | undefined): Promise<string[]> {
  const { Config: config } = await container.inspect();
  const own = config.Env?.find((variable) => variable.startsWith('PATH='))?.slice('PATH='.length);
  return (path ?? own ?? pathDefault).split(':').map((directory) => `${directory}/${command}`);
}

/** Whether there is something of that path in a container, which need not run. */
export async function hasPath(container: Container, path: string): Promise<boolean> {
  const answer = await unlessAbsent(`looking for ${path}`, () => container.infoArchive({ path }));
  // Its connection stays open until somebody has read it, although there is nothing to read.
  answer?.resume();
  return answer !== undefined;
}
