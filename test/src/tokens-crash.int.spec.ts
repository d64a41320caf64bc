import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { TokenStore } from '@cloudos/gateway/testing';
import { SeededRandom } from '@cloudos/testing';
import { afterAll, describe, expect, it } from 'vitest';

const program = fileURLToPath(new URL('./fixtures/token-maker.mjs', import.meta.url));
const rounds = 12;
const seed = Number(process.env.CLOUDOS_SEED ?? Date.now() % 1_000_000);

/** Lets a process make and revoke tokens, kills it a little after so many lines, and returns those it wrote. */
function makeAndKill(directory: string, lines: number, delayMs: number): Promise<string[]> {
  const child = spawn(process.execPath, [program, directory], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  return new Promise((resolve, reject) => {
    child.stdout.on('data', (data: Buffer) => {
      output += data.toString();
      // The first line is not one.
      if (output.split('\n').length > lines + 1) setTimeout(() => child.kill('SIGKILL'), delayMs);
    });
    child.stderr.on('data', (data: Buffer) => {
      errors += data.toString();
    });
    child.on('close', (_code, signal) => {
      // The last line may be cut off.
      if (signal === 'SIGKILL') resolve(output.split('\n').slice(1, -1));
      else reject(new Error(`the process ended by itself: ${errors}`));
    });
  });
}

describe(`tokens over crashes (CLOUDOS_SEED=${seed})`, () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'cloudos-tokens-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it('are all there once they were acknowledged, and what was revoked stays so', async () => {
    const random = new SeededRandom(seed);
    const made = new Map<string, string>();
    const revoked = new Set<string>();
    for (let round = 0; round < rounds; round++) {
      for (const line of await makeAndKill(directory, random.between(1, 8), random.between(0, 8))) {
        const [what, id = '', token = ''] = line.split(' ');
        if (what === 'made') made.set(id, token);
        else revoked.add(id);
      }
      const store = await TokenStore.open(directory);
      for (const [id, token] of made) {
        const found = store.find(token);
        // Of those that ended, only the last hundred are remembered; the others let nobody in either.
        if (revoked.has(id)) expect([id, found === undefined || found.revokedAt !== undefined]).toEqual([id, true]);
        else expect([id, found?.id]).toEqual([id, id]);
      }
    }
    console.log(`seed ${seed}: ${made.size} made, ${revoked.size} revoked, ${rounds} kills`);
    expect(made.size).toBeGreaterThanOrEqual(rounds);
    expect(revoked.size).toBeGreaterThan(0);
  }, 180_000);
});
