import { bearerProtocolPrefix } from '@cloudos/client';
import { CloudosError } from '@cloudos/sdk';
import type { Admission } from '../limits/admission.ts';
import type { Origins } from './origins.ts';
import { localPrincipal, type Principal } from './principal.ts';
import { Sessions } from './sessions.ts';
import { sameToken } from './token-file.ts';

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

  constructor({ token, tokenFile, origins, admission }: AccessOptions) {
    this.#token = token;
    this.#tokenFile = tokenFile;
    this.origins = origins;
    this.admission = admission;
  }

  /**
   * Who sent a request: lets one through that comes from no page or from an allowed one, and that has a token.
   * @throws CloudosError RATE_LIMITED, ORIGIN_FORBIDDEN, UNAUTHENTICATED, TOKEN_EXPIRED, TOKEN_REVOKED
   */
  authenticate(credentials: Credentials): Principal {
    const { address, origin } = credentials;
    this.admission.address(address);
    this.origins.assert(origin);
    const principal = this.#principalOf(credentials);
    this.admission.request(principal);
    return principal;
  }

  #principalOf(credentials: Credentials): Principal {
    const given = bearerOf(credentials.authorization) ?? bearerProtocolOf(credentials.protocols);
    if (given !== undefined && sameToken(given, this.#token)) return localPrincipal;
    this.admission.refused(credentials.address);
    throw new CloudosError(
      'UNAUTHENTICATED',
      given === undefined ? 'the request has no token' : 'the token of the request is not one of this kernel',
      { remedy: `Send the header "Authorization: Bearer <token>" with the token in ${this.#tokenFile}.` },
    );
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
