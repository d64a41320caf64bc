import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TokenInfo, TokenRequest } from '@cloudos/client';
import { asCloudosError, CloudosError, describeIssues, messageOf } from '@cloudos/sdk';
import { z } from 'zod';
import { replaceFile } from './replace-file.ts';
import { endOf, hashOf, infoOf, newToken, type StoredToken, stateOf, storedToken } from './stored-token.ts';

/** Active tokens at once; beyond: TOKENS_EXCEEDED. */
export const tokensMax = 1_000;
/** Tokens that have ended and are still listed; beyond, those that ended first are forgotten. */
export const endedTokensMax = 100;
/** Validity of a token whose creator does not say. */
export const ttlDefaultMs = 90 * 24 * 3_600_000;

const fileSchema = z.strictObject({ version: z.literal(1), tokens: z.array(storedToken) });

export function tokensFileOf(stateDir: string): string {
  return join(stateDir, 'tokens.json');
}

/**
 * The tokens of a state directory, in a file that only its owner reads and that holds no token but its hash. A change
 * is acknowledged once it is on disk. The process that holds the log is the only writer.
 */
export class TokenStore {
  readonly #file: string;
  readonly #now: () => number;
  #tokens: readonly StoredToken[];
  #byHash: ReadonlyMap<string, StoredToken> = new Map();
  /** A revocation holds in memory and could not be written. */
  #unwritten = false;
  /** Changes take turns. */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(file: string, tokens: readonly StoredToken[], now: () => number) {
    this.#file = file;
    this.#now = now;
    this.#tokens = tokens;
    this.#index();
  }

  /** @throws CloudosError TOKENS_MALFORMED, PERMISSION_DENIED */
  static async open(stateDir: string, now: () => number = Date.now): Promise<TokenStore> {
    const file = tokensFileOf(stateDir);
    return new TokenStore(file, await readTokens(file), now);
  }

  /** The token with that text, whatever its state. Found by its hash: how long it takes tells nothing of any token. */
  find(token: string): StoredToken | undefined {
    return this.#byHash.get(hashOf(token));
  }

  list(): TokenInfo[] {
    const now = this.#now();
    return this.#tokens.map((each) => infoOf(each, now));
  }

  /** @throws CloudosError TOKEN_EXISTS, TOKENS_EXCEEDED, STATE_UNWRITABLE */
  create(request: TokenRequest): Promise<TokenInfo & { token: string }> {
    return this.#change(async () => {
      const now = this.#now();
      this.#assertRoom(request.name, now);
      const { token, hash, id } = newToken();
      const ttlMs = request.ttlMs === undefined ? ttlDefaultMs : request.ttlMs;
      const { events, appends } = request;
      const stored = storedToken.parse({
        id,
        name: request.name,
        hash,
        scopes: [...new Set(request.scopes)],
        ...(events === undefined ? {} : { events }),
        ...(appends === undefined ? {} : { appends }),
        createdAt: now,
        ...(ttlMs === null ? {} : { expiresAt: now + ttlMs }),
      });
      await this.#write([...this.#tokens, stored]);
      return { ...infoOf(stored, now), token };
    });
  }

  /**
   * Ends a token: at once for whoever comes, and for good when it resolves. Revoking an ended one changes nothing.
   * @param onEnd told as soon as it is void, before that is on disk: a disk that fails must not keep the door open
   * @throws CloudosError TOKEN_NOT_FOUND, STATE_UNWRITABLE (it is void, and would be valid again after a restart)
   */
  revoke(idOrName: string, onEnd: (info: TokenInfo) => void = () => {}): Promise<TokenInfo> {
    return this.#change(async () => {
      const now = this.#now();
      const found =
        this.#tokens.find(({ id }) => id === idOrName) ??
        this.#tokens.findLast((each) => each.name === idOrName && stateOf(each, now) === 'active') ??
        this.#tokens.findLast(({ name }) => name === idOrName);
      if (!found) throw notFound(idOrName, this.#tokens);
      const active = stateOf(found, now) === 'active';
      const revoked = active ? { ...found, revokedAt: now } : found;
      const info = infoOf(revoked, now);
      if (active) {
        this.#tokens = this.#tokens.map((each) => (each === found ? revoked : each));
        this.#index();
        this.#unwritten = true;
        onEnd(info);
      }
      if (this.#unwritten) await this.#write(this.#tokens);
      return info;
    });
  }

  #change<T>(change: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(change);
    this.#last = turn.catch(() => {});
    return turn;
  }

  #assertRoom(name: string, now: number): void {
    const active = this.#tokens.filter((each) => stateOf(each, now) === 'active');
    const same = active.find((each) => each.name === name);
    if (same) throw new CloudosError('TOKEN_EXISTS', `${same.id} is called ${name} and is active`);
    if (active.length >= tokensMax) {
      throw new CloudosError('TOKENS_EXCEEDED', `${active.length} tokens are active, as many as are allowed`);
    }
  }

  async #write(tokens: readonly StoredToken[]): Promise<void> {
    const kept = withoutOldest(tokens, this.#now());
    try {
      await replaceFile(this.#file, `${JSON.stringify({ version: 1, tokens: kept }, undefined, 1)}\n`);
    } catch (error) {
      throw asCloudosError(error, 'STATE_UNWRITABLE', `${this.#file} cannot be written`);
    }
    this.#unwritten = false;
    this.#tokens = kept;
    this.#index();
  }

  #index(): void {
    this.#byHash = new Map(this.#tokens.map((each) => [each.hash, each]));
  }
}

async function readTokens(file: string): Promise<StoredToken[]> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw asCloudosError(error, 'PERMISSION_DENIED', `${file} cannot be read`);
  }
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch (error) {
    throw new CloudosError('TOKENS_MALFORMED', `${file} is not JSON: ${messageOf(error)}`);
  }
  const parsed = fileSchema.safeParse(given);
  if (parsed.success) return parsed.data.tokens;
  throw new CloudosError('TOKENS_MALFORMED', `${file}: ${describeIssues(parsed.error, given)}`);
}

function withoutOldest(tokens: readonly StoredToken[], now: number): StoredToken[] {
  const ended = tokens
    .flatMap((token) => {
      const end = endOf(token, now);
      return end === undefined ? [] : [{ token, end }];
    })
    .sort((one, other) => other.end - one.end);
  const forgotten = new Set(ended.slice(endedTokensMax).map(({ token }) => token));
  return tokens.filter((token) => !forgotten.has(token));
}

function notFound(idOrName: string, tokens: readonly StoredToken[]): CloudosError {
  const names = tokens.map(({ id, name }) => `${name} (${id})`);
  return new CloudosError(
    'TOKEN_NOT_FOUND',
    `no token has the id or name ${idOrName}; there are ${names.slice(0, 20).join(', ') || 'none'}`,
  );
}
