import { digest } from '@cloudos/host-tools';
import type { NodeBridge } from '@cloudos/node-network';
import { CloudosError } from '@cloudos/sdk';
import type Docker from 'dockerode';
import { engineError, unlessAbsent } from './engine.ts';

const bridgeName = 'com.docker.network.bridge.name';

/**
 * The node's bridge as a network of the engine. The engine uses a bridge that is there as it is, and leaves it there when
 * the network is removed; addresses are claimed from the node's network and only told to the engine.
 */
export class EngineNetwork {
  readonly #docker: Docker;
  readonly name: string;
  readonly #owner: string;
  #known: string | undefined;
  #last: Promise<void> = Promise.resolve();

  constructor(docker: Docker, owner: string) {
    this.#docker = docker;
    this.#owner = owner;
    this.name = `cloudos-${digest(owner, 10)}`;
  }

  /** Makes the network unless it is there. @throws CloudosError RUNTIME_UNAVAILABLE, NAME_TAKEN, HOST_COMMAND_FAILED */
  ensure(bridge: NodeBridge): Promise<void> {
    // One after the other: the first guests of a node come at the same time.
    this.#last = this.#last.catch(() => {}).then(() => this.#ensure(bridge));
    return this.#last;
  }

  async #ensure(bridge: NodeBridge): Promise<void> {
    const wanted = `${bridge.name} ${bridge.subnet}`;
    if (this.#known === wanted) return;
    const found = await unlessAbsent(`network ${this.name}`, () => this.#docker.getNetwork(this.name).inspect());
    if (found) {
      if (found.Labels?.['io.cloudos.owner'] !== this.#owner) {
        throw new CloudosError('NAME_TAKEN', `the engine has a network ${this.name} that is not ours`, {
          remedy: `docker network rm ${this.name}`,
        });
      }
      const has = `${found.Options?.[bridgeName]} ${found.IPAM?.Config?.[0]?.Subnet}`;
      if (has === wanted) {
        this.#known = wanted;
        return;
      }
      await this.remove();
    }
    await this.#make(bridge);
    this.#known = wanted;
  }

  async #make(bridge: NodeBridge): Promise<void> {
    try {
      await this.#docker.createNetwork({
        Name: this.name,
        Driver: 'bridge',
        CheckDuplicate: true,
        Labels: { 'io.cloudos.owner': this.#owner },
        IPAM: { Driver: 'default', Config: [{ Subnet: bridge.subnet, Gateway: bridge.gateway }] },
        Options: {
          [bridgeName]: bridge.name,
          'com.docker.network.bridge.enable_ip_masquerade': 'false',
          'com.docker.network.driver.mtu': String(bridge.mtu),
        },
      });
    } catch (error) {
      // Another generation of the driver was faster.
      if ((error as { statusCode?: number }).statusCode === 409) return;
      throw engineError(error, `network ${this.name}`);
    }
  }

  async remove(): Promise<void> {
    this.#known = undefined;
    await unlessAbsent(`network ${this.name}`, () => this.#docker.getNetwork(this.name).remove());
  }
}
