// Prints what about this machine a test result depends on. An input of the cached `test` target: a result that was
// made on another machine, by another user, or before a component was installed is not taken from the cache.
import { existsSync, readFileSync } from 'node:fs';
import { arch, platform, release } from 'node:os';
import { components, isThere } from './lib/components.mjs';

const controllers = () => {
  try {
    return readFileSync('/proc/self/cgroup', 'utf8')
      .replaceAll(/:\/.*$/gm, '')
      .trim()
      .split('\n');
  } catch {
    return [];
  }
};

console.log(
  JSON.stringify({
    node: process.versions.node,
    system: [platform(), arch(), release()],
    uid: process.getuid?.() ?? null,
    controllers: controllers(),
    commands: components.flatMap(({ commands }) => commands).map((command) => [command, isThere(command)]),
    files: components.flatMap(({ files = [] }) => files).map((file) => [file, existsSync(file)]),
  }),
);
