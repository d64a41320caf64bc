import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CloudosError } from '@cloudos/sdk';
import type { CliContext } from './context.ts';
import { nonEmpty, rememberedStack } from './state-dir.ts';

/**
 * The stack file: --stack, $CLOUDOS_STACK, that of the distribution whose command this is, the one that the kernel of the state directory was started from last
 * (where that is asked for), ./cloudos.yaml, else that of the local distribution in
 * the same checkout.
 * @throws CloudosError STACK_NOT_FOUND
 */
export async function stackFileOf(
  { env, cwd, distribution }: Pick<CliContext, 'env' | 'cwd' | 'distribution'>,
  given: string | undefined,
  stateDir?: string,
): Promise<string> {
  const named = given ?? nonEmpty(env.CLOUDOS_STACK);
  if (named !== undefined) return resolve(cwd, named);
  if (distribution) return distribution.stackFile;
  const last = stateDir === undefined ? undefined : await rememberedStack(stateDir);
  const candidates = [
    ...(last === undefined ? [] : [last]),
    resolve(cwd, 'cloudos.yaml'),
    fileURLToPath(new URL('../../distributions/local/stack.yaml', import.meta.url)),
  ];
  const found = candidates.find((file) => existsSync(file));
  if (found !== undefined) return found;
  throw new CloudosError(
    'STACK_NOT_FOUND',
    `no stack file is given, and none of these exists: ${candidates.join(', ')}`,
    {
      remedy: 'Give one with --stack.',
    },
  );
}
