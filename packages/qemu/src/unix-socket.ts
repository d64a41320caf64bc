import { closeSync, constants, openSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { basename, dirname } from 'node:path';

/** sun_path of unix(7), without its terminating NUL. */
const pathMaxBytes = 107;

/**
 * Connects to a socket in the file system, however long its path is: a long one is entered through a descriptor of its
 * directory. Rejects with the error of the system (ENOENT, ECONNREFUSED, …) or with ETIMEDOUT.
 */
export function connectUnix(path: string, timeoutMs: number): Promise<Socket> {
  return shortened(
    path,
    (short) =>
      new Promise((resolve, reject) => {
        const socket = connect(short);
        const timer = setTimeout(() => {
          socket.destroy();
          reject(Object.assign(new Error(`no connection to ${path} in ${timeoutMs} ms`), { code: 'ETIMEDOUT' }));
        }, timeoutMs);
        socket.once('connect', () => {
          clearTimeout(timer);
          resolve(socket);
        });
        socket.once('error', (error) => {
          clearTimeout(timer);
          reject(error);
        });
      }),
  );
}

/** Listens on a socket in the file system, however long its path is. The caller closes the server. */
export function listenUnix(path: string): Promise<Server> {
  return shortened(
    path,
    (short) =>
      new Promise((resolve, reject) => {
        const server = createServer();
        server.once('error', reject);
        server.listen(short, () => resolve(server));
      }),
  );
}

async function shortened<T>(path: string, use: (path: string) => Promise<T>): Promise<T> {
  if (Buffer.byteLength(path) <= pathMaxBytes) return use(path);
  const directory = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return await use(`/proc/self/fd/${directory}/${basename(path)}`);
  } finally {
    closeSync(directory);
  }
}
