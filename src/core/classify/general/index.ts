// The general rules in the order they are asked: the closer a cause is named, the earlier it stands.

import type { ReplyRule } from '../../policy.ts'
import { content, policy, saysNothing } from './content.ts'
import { concurrent, greylisting, perSession, receiving, sendingQuota, tooFast } from './limits.ts'
import { disabled, full, international, relaying, tooLarge, unknownUser, unverified } from './recipient.ts'
import {
  addressBlocked,
  domainAuthentication,
  encryption,
  listed,
  login,
  names,
  reputation,
  senderAddress,
} from './sender.ts'
import { commands, line, routing, unwell } from './system.ts'

export const GENERAL_RULES: readonly ReplyRule[] = [
  ...international,
  ...greylisting,
  ...saysNothing,
  ...perSession,
  ...unverified,
  ...login,
  ...encryption,
  ...domainAuthentication,
  ...names,
  ...concurrent,
  ...reputation,
  ...receiving,
  ...sendingQuota,
  ...listed,
  ...tooFast,
  ...tooLarge,
  ...full,
  ...senderAddress,
  ...addressBlocked,
  ...disabled,
  ...unknownUser,
  ...relaying,
  ...content,
  ...commands,
  ...routing,
  ...line,
  ...unwell,
  ...policy,
]
