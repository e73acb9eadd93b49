// The classifier with the providers that steadymail knows.

import { type Classifier, createClassifier } from './core/classify/classifier.ts'
import { builtinPolicies } from './providers/index.ts'

/**
 * Tells what a reply means: transient or permanent, why, of whom it speaks, and for how long.
 * Pure and total: any text gives a verdict; what it does not say is `unknown`.
 * @param reply a server's words, or a Reply with code, phase or errno already known
 * @param context phase, MX host, recipient domain, the time, and policies asked before the built-in ones
 */
export const classifyReply: Classifier = createClassifier(builtinPolicies)

export { builtinPolicies }
