import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { digest, findTool, runCommand } from '@cloudos/host-tools';

const sources = fileURLToPath(new URL('../agent', import.meta.url));
const buildMaxMs = 120_000;

/** Why the agent cannot be built here. */
export function buildObstacle(): { reason: string; remedy: string } | undefined {
  const missing = ['gcc', 'make'].filter((tool) => !findTool(tool));
  if (missing.length === 0) return undefined;
  return {
    reason: `the agent is built once, with ${missing.join(' and ')}`,
    remedy: 'apt-get install gcc make libc6-dev',
  };
}

/** `agent`: the first process of a tiny machine. `service`: one of a complete Linux, static, for any that has virtio. */
export type AgentProgram = 'agent' | 'service';

/** The agent, compiled once for each version of its source. */
export async function buildAgent(directory: string, program: AgentProgram = 'agent'): Promise<string> {
  const names = readdirSync(sources)
    .filter((name) => /\.[ch]$/.test(name))
    .sort();
  const key = digest(names.map((name) => readFileSync(join(sources, name), 'utf8')).join('\0'), 12);
  const path = join(directory, `${program}-${key}`);
  if (existsSync(path)) return path;
  const work = `${path}.new-${process.pid}`;
  await mkdir(work, { recursive: true });
  await runCommand(findTool('make') ?? 'make', ['-s', '-C', sources, `OUT=${work}`, `${work}/${program}`], {
    timeoutMs: buildMaxMs,
  });
  await rename(join(work, program), path);
  await runCommand('/bin/rm', ['-rf', work]);
  return path;
}
