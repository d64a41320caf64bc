import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Where a running kernel is reached: the content of `<stateDir>/endpoint.json`. */
export interface EndpointInfo {
  readonly url: string;
  readonly pid: number;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  /** SHA-256 of the certificate, `AB:CD:…`; absent without TLS. */
  readonly fingerprint?: string;
  /** PEM file with the certificate. */
  readonly certificateFile?: string;
}

export function endpointFileOf(stateDir: string): string {
  return join(stateDir, 'endpoint.json');
}

/** Puts the file in place in one step, so that a reader sees all of it or the one before. */
export async function writeEndpoint(stateDir: string, info: EndpointInfo): Promise<void> {
  const file = endpointFileOf(stateDir);
  const draft = `${file}.${info.pid}`;
  await writeFile(draft, `${JSON.stringify(info)}\n`, { mode: 0o600 });
  await rename(draft, file);
}

/** Removes the file, unless another process has put its own there meanwhile. */
export async function removeEndpoint(stateDir: string, pid: number): Promise<void> {
  const file = endpointFileOf(stateDir);
  try {
    const info = JSON.parse(await readFile(file, 'utf8')) as Partial<EndpointInfo>;
    if (info.pid === pid) await rm(file, { force: true });
  } catch {
    // Gone, or not ours to judge: the reader recognises a stale file by its dead process.
  }
}
