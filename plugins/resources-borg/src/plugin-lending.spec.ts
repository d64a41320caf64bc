import { resourcesConformance } from '@cloudos/conformance';
import plugin from './plugin.ts';

const margin = 0.25;

// the same with resources lent: over-committed no further than what is reserved and not used, to best effort alone
resourcesConformance(plugin, { config: { reclamation: { margin } }, lending: { below: 100, margin }, seeds: [1, 2] });
