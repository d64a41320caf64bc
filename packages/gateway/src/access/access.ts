import { bearerProtocolPrefix, type CreatedToken, type TokenInfo, type TokenRequest } from '@cloudos/client';
import { CloudosError, type Logger } from '@cloudos/sdk';
import type { Admission } from '../limits/admission.ts';
import type { Origins } from './origins.ts';
import { localPrincipal, type Principal } from './principal.ts';
import { Sessions, tokenExpired, tokenRevoked } from './sessions.ts';
import { principalOf, type StoredToken, stateOf } from './stored-token.ts';
import { sameToken } from './token-file.ts';
import type { TokenStore } from './token-store.ts';

/** What a request brings along to be let in. */
export interface Credentials {
  /** Of the peer. */
  readonly address: string;
  readonly origin: string | undefined;
  readonly authorization: string | undefined;
  /** `Sec-WebSocket-Protocol` of a handshake: may carry `cloudos.bearer.<token>`. */
  readonly protocols?: string | undefined;
}

export interface AccessOptions {
  /** Of the token file. */
  readonly token: string;
  readonly tokenFile: string;
  /** The others. */
  readonly tokens: TokenStore;
  readonly logger: Logger;
  readonly origins: Origins;
  readonly admission: Admission;
}

/** Decides who may in, and closes what is open when a token ends. */
export class Access {
  readonly origins: Origins;
  readonly admission: Admission;
  readonly sessions = new Sessions();
  readonly #token: string;
  readonly #tokenFile: string;
  readonly #tokens: TokenStore;
  readonly #logger: Logger;
  /** Of each stored token, so that every connection of one has the same. */
  readonly #principals = new Map<string, Principal>();

  constructor({ token, tokenFile, tokens, logger, origins, admission }: AccessOptions) {
    this.#token = token;
    this.#tokenFile = tokenFile;
    this.#tokens = tokens;
    this.#logger = logger;
    this.origins = origins;
    this.admission = admission;
  }

  /**
   * Who sent a request: lets one through that comes from no page or from an allowed one, and that has a token.
   * @throws CloudosError RATE_LIMITED, ORIGIN_FORBIDDEN, UNAUTHENTICATED, TOKEN_EXPIRED, TOKEN_REVOKED
   */
  authenticate(credentials: Credentials): Principal {
    const { address, origin } = credentials;
    let principal: Principal;
    try {
      this.origins.assert(origin);
      principal = this.#principalOf(credentials);
    } catch (error) {
      this.admission.refused(address);
      throw error;
    }
    this.admission.request(principal, address);
    return principal;
  }

  #principalOf(credentials: Credentials): Principal {
    const given = bearerOf(credentials.authorization) ?? bearerProtocolOf(credentials.protocols);
    if (given !== undefined) {
      if (sameToken(given, this.#token)) return localPrincipal;
      const stored = this.#tokens.find(given);
      if (stored) return this.#valid(stored);
    }
    throw new CloudosError(
      'UNAUTHENTICATED',
      given === undefined ? 'the request has no token' : 'the token of the request is not one of this kernel',
      { remedy: `Send the header "Authorization: Bearer <token>" with the token in ${this.#tokenFile}.` },
    );
  }

  tokens(): TokenInfo[] {
    return this.#tokens.list();
  }

  /** @throws CloudosError TOKEN_EXISTS, TOKENS_EXCEEDED, STATE_UNWRITABLE */
  async createToken(request: TokenRequest): Promise<CreatedToken> {
    const created = await this.#tokens.create(request);
    const { id, name, scopes, expiresAt } = created;
    this.#logger.info('a token was created', { id, name, scopes, expiresAt });
    return created;
  }

  /**
   * Ends a token, and the connections that it has open.
   * @param by who asks; if it is the token itself, its connections end when the answer is out
   * @throws CloudosError TOKEN_NOT_FOUND, STATE_UNWRITABLE
   */
  revokeToken(idOrName: string, by: Principal, answered: () => Promise<void>): Promise<TokenInfo> {
    return this.#tokens.revoke(idOrName, ({ id, name }) => {
      this.#principals.delete(id);
      this.#logger.info('a token was revoked', { id, name, connections: this.sessions.count(id) });
      const end = () => this.sessions.end(id, tokenRevoked({ id, name }));
      if (by.id === id) void answered().then(end);
      else end();
    });
  }

  #valid(stored: StoredToken): Principal {
    const principal = this.#principals.get(stored.id) ?? principalOf(stored);
    const state = stateOf(stored, Date.now());
    if (state !== 'active') throw state === 'revoked' ? tokenRevoked(stored) : tokenExpired(principal);
    this.#principals.set(stored.id, principal);
    return principal;
  }
}

function bearerOf(authorization: string | undefined): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
}

/** The subprotocols of a handshake, without the one that carries a token. */
export function offeredProtocols(header: string | undefined): string[] {
  return entries(header).filter((each) => !each.startsWith(bearerProtocolPrefix));
}

function bearerProtocolOf(header: string | undefined): string | undefined {
  return entries(header)
    .find((each) => each.startsWith(bearerProtocolPrefix))
    ?.slice(bearerProtocolPrefix.length);
}

function entries(header: string | undefined): string[] {
  return (header ?? '')
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '');
}
