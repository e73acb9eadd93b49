// How a provider's rule is written down here: what it matches, its cause, a reply it must match, and where it comes from.

import type { Cause } from '../core/cause.ts'
import type { ReplyRule } from '../core/policy.ts'

export type Sourced = (
  id: string,
  cause: Cause,
  text: RegExp,
  samples: string | readonly string[],
  extra?: Partial<Omit<ReplyRule, 'id' | 'cause' | 'text' | 'samples'>>,
) => ReplyRule

/** Rules that share a source and the day it was read; `url` is the page an operator is sent to. */
export function sourced(source: string, date: string, url?: string): Sourced {
  return (id, cause, text, samples, extra = {}) => ({
    id,
    cause,
    text,
    ...(url === undefined ? {} : { url }),
    source,
    date,
    samples: typeof samples === 'string' ? [samples] : samples,
    ...extra,
  })
}

/** Where most limits come from: the shaping files that KumoMTA's operators keep, some given by the providers. */
export const SHAPING = 'KumoMTA shaping.toml (policy-extras and community), github.com/KumoCorp/kumomta'
export const READ = '2026-11-20'
