import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { findTool, runCommand } from '@cloudos/host-tools';

/** Rounds: what is free comes in pieces, and more of it when the file system has settled what it holds. */
const rounds = 3;
const largestPiece = 2 ** 30;
const smallestPiece = 4096;

/** Takes all room that is left in the file system of the node's own engine. */
export async function fillDisk({ dataDir }: { dataDir: string }): Promise<() => Promise<void>> {
  const filler = join(dataDir, 'engine/filler');
  await mkdir(filler);
  const script = `
    for round in $(seq ${rounds}); do
      piece=${largestPiece}
      while [ "$piece" -ge ${smallestPiece} ]; do
        fallocate -l "$piece" "$1/$round.$piece" 2>/dev/null || { rm -f "$1/$round.$piece"; }
        piece=$((piece / 2))
      done
      sync -f "$1"
    done`;
  await runCommand(findTool('sh') ?? 'sh', ['-c', script, 'sh', filler], { timeoutMs: 60_000 });
  return () => rm(filler, { recursive: true });
}
