import { type EventData, ownerDefault, type PlacementRule } from '@cloudos/sdk';

type Request = Pick<
  EventData<'InstanceRequested'>,
  'workload' | 'owner' | 'user' | 'tags' | 'placement' | 'image' | 'reservation'
>;

const none: readonly never[] = [];

/** Whose an instance is and what company it keeps: shared by all instances that say the same. */
export class Profile {
  readonly key: string;
  readonly owner: string;
  readonly user: string | undefined;
  readonly tags: readonly string[];
  readonly rules: readonly PlacementRule[];
  readonly image: string | undefined;
  readonly reservation: string | undefined;
  /** How many instances have it. */
  holders = 0;
  readonly #request: Request;

  constructor(key: string, request: Request) {
    this.key = key;
    this.#request = request;
    this.owner = request.owner ?? ownerDefault;
    this.user = request.user;
    this.tags = request.tags ?? none;
    this.rules = request.placement ?? none;
    this.image = request.image;
    this.reservation = request.reservation;
  }

  /** Told without making a key. */
  says(request: Request): boolean {
    return (
      request.owner === this.#request.owner &&
      request.user === this.user &&
      request.image === this.image &&
      request.reservation === this.reservation &&
      sameTexts(request.tags ?? none, this.tags) &&
      (request.placement === this.#request.placement || (!request.placement && this.rules.length === 0)) &&
      (this.rules.length === 0 || request.workload === this.#request.workload)
    );
  }

  /** What a request of it says, as plain data. */
  get said(): Omit<Request, 'workload'> {
    const { owner, user, tags, placement, image, reservation } = this.#request;
    return {
      ...(owner !== undefined && { owner }),
      ...(user !== undefined && { user }),
      ...(tags !== undefined && { tags }),
      ...(placement !== undefined && { placement }),
      ...(image !== undefined && { image }),
      ...(reservation !== undefined && { reservation }),
    };
  }
}

function sameTexts(one: readonly string[], other: readonly string[]): boolean {
  return one === other || (one.length === other.length && one.every((text, at) => text === other[at]));
}

/** Every profile that some instance has at present. */
export class Profiles {
  readonly #profiles = new Map<string, Profile>();

  /** The profile of that request, held once more: give it back with {@link release}. */
  hold(request: Request, likely?: Profile): Profile {
    const profile = likely && likely.holders > 0 && likely.says(request) ? likely : this.#find(request);
    profile.holders++;
    return profile;
  }

  release(profile: Profile): void {
    if (--profile.holders === 0) this.#profiles.delete(profile.key);
  }

  #find(request: Request): Profile {
    const key = profileKey(request);
    let profile = this.#profiles.get(key);
    if (!profile) {
      profile = new Profile(key, request);
      this.#profiles.set(key, profile);
    }
    return profile;
  }
}

/** With rules the workload is part of it: whether an instance is company of its own depends on that. */
function profileKey({ workload, owner, user, tags, placement, image, reservation }: Request): string {
  if (!owner && !user && !tags && !placement && !image && !reservation) return '';
  const rules = placement && placement.length > 0 ? [workload, placement] : [];
  return JSON.stringify([owner ?? ownerDefault, user, tags ?? [], image, reservation, ...rules]);
}
