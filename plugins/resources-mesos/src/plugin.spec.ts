import { resourcesConformance } from '@cloudos/conformance';
import plugin from './plugin.ts';

resourcesConformance(plugin);
