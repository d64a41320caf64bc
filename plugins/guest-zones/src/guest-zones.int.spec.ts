import { guestConformance } from '@cloudos/conformance';
import guestZones from './index.ts';

guestConformance(guestZones, { image: 'host:' });
