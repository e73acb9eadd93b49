// The providers that steadymail knows, in the order in which they claim hosts and domains.

import type { ProviderPolicy } from '../core/policy.ts'

export const builtinPolicies: readonly ProviderPolicy[] = []
