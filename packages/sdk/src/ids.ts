import { uuidv7 } from 'uuidv7';
import type { IdSource } from './clock.ts';

/** A UUIDv7 of this machine's clock and randomness (RFC 9562), increasing within the process. */
export const newId: IdSource = uuidv7;
