import { createRequire } from 'node:module';

/** Version of the kernel package. */
export const kernelVersion: string = (createRequire(import.meta.url)('../package.json') as { version: string }).version;
