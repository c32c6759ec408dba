"""What puts the pipeline on Dataflow: the image, the Flex Template's launcher and metadata, the cost model."""
