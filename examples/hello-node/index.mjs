export const handler = async (event, context) => ({
  message: `hello from Node.js ${process.version}`,
  input: event,
  requestId: context.awsRequestId,
  function: context.functionName,
  memoryMB: Number(context.memoryLimitInMB),
  remainingMs: context.getRemainingTimeInMillis(),
});
