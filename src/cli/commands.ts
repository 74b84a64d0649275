// The commands that end: all but `serve`.

import type { Command } from 'commander';
import { addAudit } from './audit.ts';
import { addCall } from './call.ts';
import { addCosts } from './costs.ts';
import { addCredits } from './credits.ts';
import { addGroups } from './groups.ts';
import { addInvites } from './invites.ts';
import type { Io } from './io.ts';
import { addKeys } from './keys.ts';
import { addLimits } from './limits.ts';
import { addLogin } from './login.ts';
import { addPrices } from './prices.ts';
import { addProjects } from './projects.ts';
import { addRoles } from './roles.ts';
import { addSecrets } from './secrets.ts';
import { addUsage } from './usage.ts';
import { addUsers } from './users.ts';
import { addVersion } from './version.ts';

export function addCommands(program: Command, io: Io): void {
  addLogin(program, io);
  addKeys(program, io);
  addProjects(program, io);
  addUsers(program, io);
  addInvites(program, io);
  addGroups(program, io);
  addRoles(program, io);
  addLimits(program, io);
  addSecrets(program, io);
  addUsage(program, io);
  addCosts(program, io);
  addCredits(program, io);
  addPrices(program, io);
  addAudit(program, io);
  addCall(program, io);
  addVersion(program, io);
}
